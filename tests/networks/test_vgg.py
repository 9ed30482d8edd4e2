"""VGG-19: its published size, its forward pass by plain operations, any image size, training, saving, errors."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.networks.vgg import VGG19

SMALL: dict[str, Any] = {"channels": 2, "input_shape": (32, 32, 3)}


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def randomise(network: keras.Model) -> None:
    """Gives all weights, moving statistics included, values that show where each is used."""
    rng = np.random.default_rng(1)
    for weight in network.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) * (1 if weight.shape.rank == 1 else rng.normal(0, 0.3)))


@pytest.mark.parametrize(("classes", "parameters"), [(10, 20_040_522), (100, 20_086_692)])
def test_it_has_the_published_number_of_parameters(classes: int, parameters: int) -> None:
    """Those of the VGG-19 for CIFAR of pytorch-cifar: 20,040,522, and 512 weights and a bias for each further class."""
    network = VGG19(classes)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == parameters
    assert len(network.convolutions) == 16


def test_forward_pass_by_plain_operations() -> None:
    network = VGG19(7, mean=0.4, std=(0.2, 0.3, 0.1), **SMALL)
    randomise(network)
    x = images(2, 32, 32, 3)
    state = (x - 0.4) / np.array([0.2, 0.3, 0.1], np.float32)
    for number, (convolution, norm) in enumerate(zip(network.convolutions, network.norms, strict=True), start=1):
        kernel, bias = (weight.numpy() for weight in convolution.weights)
        mean, variance, gamma, beta = (
            weight.numpy() for weight in (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
        )
        raw = tf.nn.conv2d(state, kernel, 1, [[0, 0], [1, 1], [1, 1], [0, 0]]) + bias
        state = np.maximum((raw - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)
        if number in (2, 4, 8, 12, 16):
            batch, height, width, channels = state.shape
            state = state.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))
    assert state.shape == (2, 1, 1, 16)
    kernel, bias = (weight.numpy() for weight in network.head.weights)
    truth = state.reshape(2, 16) @ kernel + bias
    np.testing.assert_allclose(network(x), truth, rtol=2e-3, atol=2e-4 * np.abs(truth).max())


@pytest.mark.parametrize("size", [(28, 28, 1), (8, 8, 1), (1, 1, 3), (40, 33, 3)])
def test_images_of_any_size(size: tuple[int, int, int]) -> None:
    network = VGG19(5, channels=8, input_shape=size)
    logits = network(images(3, *size), training=True).numpy()
    assert logits.shape == (3, 5)
    assert np.ptp(logits, axis=0).min() > 1e-3  # the images still matter
    assert network.input_shape == (None, *size)


def test_weights_follow_from_the_seed_and_convolutions_from_he() -> None:
    first, twin, other = (VGG19(input_shape=(32, 32, 3), channels=16, seed=seed) for seed in (1, 1, 2))
    for mine, same in zip(first.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), same.numpy())
    for mine, same, layer in zip(first.convolutions, other.convolutions, range(16), strict=True):
        assert np.abs((mine.kernel - same.kernel).numpy()).max() > 0
        fan_in = int(np.prod(mine.kernel.shape[:3]))
        if layer:  # the first has 432 weights only
            np.testing.assert_allclose(np.std(mine.kernel.numpy()), np.sqrt(2 / fan_in), rtol=0.06)


def test_a_few_steps_on_digits_reduce_the_loss() -> None:
    data = load_dataset("digits", image_size=32, train_size=48)
    network = VGG19(channels=4, input_shape=(32, 32, 1), mean=data.mean, std=data.std)
    network.compile(
        keras.optimizers.SGD(0.02, momentum=0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    losses = network.fit(data.train.images(), data.train.y, batch_size=48, epochs=12, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(np.log(10), abs=0.5)
    assert losses[-1] < 0.7 * losses[0]


def test_saving_keeps_logits_and_arguments(tmp_path: Path) -> None:
    network = VGG19(7, mean=(0.1, 0.2, 0.3), std=0.5, seed=3, **SMALL)
    randomise(network)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert isinstance(again, VGG19)
    assert again.get_config() == network.get_config()
    np.testing.assert_array_equal(again(images(2, 32, 32, 3)), network(images(2, 32, 32, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"channels": 2.0}, "channels=2.0"),
        ({"input_shape": (32, 32, 2)}, r"1 or 3 channels.*\(32, 32, 2\)"),
        ({"mean": (0.5, 0.5)}, r"`mean`.*\(0.5, 0.5\)"),
        ({"std": 0.0}, "`std` must be positive.*0.0"),
    ],
)
def test_unusable_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VGG19(**{**SMALL, **arguments})


def test_grey_images_are_not_taken_for_colours() -> None:
    with pytest.raises(UsageError, match=r"images of shape \(32, 32, 3\)\. Received: \(32, 32, 1\)"):
        VGG19(**SMALL)(images(2, 32, 32, 1))
