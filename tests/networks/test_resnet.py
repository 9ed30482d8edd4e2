"""ResNet-18: its published size, its forward pass by plain operations, its initial weights, errors."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.networks.resnet import ResNet18

SMALL = {"channels": 2, "input_shape": (8, 8, 3)}


@pytest.mark.parametrize(("classes", "parameters"), [(10, 11_173_962), (100, 11_220_132)])
def test_it_has_the_published_number_of_parameters(classes: int, parameters: int) -> None:
    """Those of the ResNet-18 for CIFAR of pytorch-cifar, and 512 weights and a bias for each further class."""
    network = ResNet18(classes)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == parameters


def convolve(x: np.ndarray, kernel: Any, norm: Any, stride: int = 1) -> np.ndarray:
    """Returns the convolution, padded by half a kernel on both sides, normalised by the moving statistics."""
    half = [kernel.shape[0] // 2] * 2
    raw = tf.nn.conv2d(x, kernel.numpy(), stride, [[0, 0], half, half, [0, 0]]).numpy()
    return (raw - norm.moving_mean) / np.sqrt(norm.moving_variance.numpy() + 1e-5) * norm.gamma + norm.beta


@pytest.mark.parametrize("size", [(16, 16), (9, 7)])
def test_forward_pass_by_plain_operations(size: tuple[int, int]) -> None:
    network = ResNet18(7, channels=2, input_shape=(*size, 3), mean=0.4, std=(0.2, 0.3, 0.1))
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    x = rng.random((2, *size, 3), np.float32)
    normalized = (x - 0.4) / np.array([0.2, 0.3, 0.1], np.float32)
    state = np.maximum(convolve(normalized, network.stem.kernel, network.norm), 0)
    blocks = iter(network.blocks)
    for channels, strides in ((2, (1, 1)), (4, (2, 1)), (8, (2, 1)), (16, (2, 1))):
        for stride in strides:
            block = next(blocks)
            assert len(block.kernels) == (3 if stride == 2 else 2)
            branch = np.maximum(convolve(state, block.kernels[0], block.norms[0], stride), 0)
            branch = convolve(branch, block.kernels[1], block.norms[1])
            shortcut = convolve(state, block.kernels[2], block.norms[2], 2) if stride == 2 else state
            state = np.maximum(branch + shortcut, 0)
            assert state.shape[-1] == channels
    truth = state.mean((1, 2)) @ network.head.kernel.numpy() + network.head.bias.numpy()
    np.testing.assert_allclose(network(x), truth, rtol=1e-4, atol=1e-4 * np.abs(truth).max())


def test_convolutions_start_from_he_and_have_no_bias() -> None:
    network = ResNet18(channels=16)
    kernels = [weight for weight in network.weights if len(weight.shape) == 4]
    assert len(kernels) == 1 + 8 * 2 + 3
    scaled = [kernel.numpy().ravel() / np.sqrt(2 / np.prod(kernel.shape[:3])) for kernel in kernels]
    assert np.std(np.concatenate(scaled)) == pytest.approx(1, rel=0.01)
    assert not [weight.path for weight in network.trainable_weights if weight.name == "bias"][1:]  # the classifier's


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"channels": 2.0}, "channels=2.0"),
        ({"input_shape": (8, 8, 2)}, r"1 or 3 channels.*\(8, 8, 2\)"),
    ],
)
def test_unusable_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResNet18(**{**SMALL, **arguments})
