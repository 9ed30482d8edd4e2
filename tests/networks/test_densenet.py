"""DenseNet-121: its published size, its forward pass by plain operations, its initial weights, errors."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.networks.densenet import DenseNet121


def test_it_has_the_published_number_of_parameters() -> None:
    """Those of the DenseNet-121 for CIFAR of pytorch-cifar; its kernels start from He's distribution, without bias."""
    network = DenseNet121()
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 6_956_298
    kernels = [weight for weight in network.weights if len(weight.shape) == 4]
    assert len(kernels) == 121 - 1  # and the classifier
    for kernel in kernels:
        spread = np.sqrt(2 / np.prod(kernel.shape[:3]))
        assert np.std(kernel.numpy()) == pytest.approx(spread, rel=0.05), kernel.path
    assert [weight.path for weight in network.weights if weight.name == "bias"] == [network.head.bias.path]


def test_forward_pass_by_plain_operations() -> None:
    network = DenseNet121(7, growth=1, input_shape=(8, 8, 3), mean=0.4, std=(0.2, 0.3, 0.1))
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    layers = zip(network.norms, network.convolutions, strict=True)

    def activate(x: np.ndarray, norm: Any) -> np.ndarray:
        scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + 1e-5)
        return np.maximum((x - norm.moving_mean.numpy()) * scale + norm.beta.numpy(), 0)

    def convolve(x: np.ndarray, size: int, filters: int) -> np.ndarray:
        norm, convolution = next(layers)
        assert convolution.kernel.shape == (size, size, x.shape[-1], filters)
        return tf.nn.conv2d(activate(x, norm), convolution.kernel.numpy(), 1, "SAME").numpy()

    x = rng.random((2, 8, 8, 3), np.float32)
    normalized = (x - 0.4) / np.array([0.2, 0.3, 0.1], np.float32)
    state = tf.nn.conv2d(normalized, network.stem.kernel.numpy(), 1, "SAME").numpy()
    for depth, side, width in ((6, 8, 2 + 6), (12, 4, 4 + 12), (24, 2, 8 + 24), (16, 1, 16 + 16)):
        if side < 8:
            state = convolve(state, 1, state.shape[-1] // 2)
            state = state.reshape(2, side, 2, side, 2, -1).mean((2, 4))
        for _ in range(depth):
            state = np.concatenate([convolve(convolve(state, 1, 4), 3, 1), state], -1)
        assert state.shape == (2, side, side, width)
    truth = activate(state, network.norm).mean((1, 2)) @ network.head.kernel.numpy() + network.head.bias.numpy()
    np.testing.assert_allclose(network(x), truth, rtol=1e-4, atol=1e-4 * np.abs(truth).max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"growth": 0}, "growth=0"), ({"input_shape": (8, 8)}, r"`input_shape`.*\(8, 8\)"), ({"std": -1.0}, "`std`.*-1")],
)
def test_unusable_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DenseNet121(**{"growth": 1, **arguments})
