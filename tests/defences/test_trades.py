"""TRADES: its two terms by hand, its attack, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import fgsm, image_seeds, pgd
from racl_tf.defences import Trades, trades
from racl_tf.defences.trades import divergence
from racl_tf.errors import UsageError
from racl_tf.layers.batch_norm import BatchNorm

SEEDS = image_seeds(tf.constant([1, 2]), tf.range(4))


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * np.log(p / q)).sum(-1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum(-1, keepdims=True)


def test_two_terms_on_a_linear_model_by_hand() -> None:
    """Logits are the two pixels, so that the divergence is largest where they move apart by eps each.

    At (0.6, 0.3) with eps 0.1 the clean prediction is (1, e^-0.3) / (1 + e^-0.3). The attack ends at (0.7, 0.2) or at
    (0.5, 0.4), which is where the signs of its start take it.
    """
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
    x, y = tf.constant([[0.6, 0.3]] * 4), tf.constant([0, 1, 0, 1])
    defence = trades(eps=0.1, step_size=0.05, steps=6, beta=6.0)
    attacked = defence.perturb(network, x, SEEDS).numpy()
    p = 1 / (1 + np.exp(-0.3))
    truth = []
    for image, label in zip(attacked, y, strict=True):
        assert np.abs(image - [0.7, 0.2]).max() < 1e-6 or np.abs(image - [0.5, 0.4]).max() < 1e-6
        q = 1 / (1 + np.exp(-(0.5 if image[0] > 0.6 else 0.1)))
        natural = -np.log(p if label == 0 else 1 - p)
        truth.append(natural + 6 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))
    loss, logits = defence.objective(network, x, y, SEEDS)
    assert float(loss) == pytest.approx(np.mean(truth), rel=1e-4)
    np.testing.assert_allclose(logits, attacked, rtol=1e-5)


def test_divergence_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    logits, others = rng.normal(0, 3, (2, 50, 7)).astype(np.float32)
    values = divergence(logits, others).numpy()
    np.testing.assert_allclose(values, kl(softmax(logits), softmax(others)), rtol=1e-4, atol=1e-5)
    assert (np.abs(divergence(logits, logits)) < 1e-6).all()
    extreme = divergence(tf.constant([[200.0, 0.0]]), tf.constant([[0.0, 0.0]]))
    np.testing.assert_allclose(extreme, [np.log(2)], rtol=1e-5)


def small_network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(8, 3, kernel_initializer=keras.initializers.HeNormal(0)),
            BatchNorm(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(5, kernel_initializer=keras.initializers.HeNormal(1)),
        ]
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attack_raises_the_divergence_inside_the_ball(norm: str) -> None:
    """Above that of random points of the ball, of the same length or less, for every image."""
    network, rng, eps = small_network(), np.random.default_rng(0), 0.3
    x = rng.uniform(0, 1, [16, 6, 6, 1]).astype(np.float32)
    seeds = image_seeds(tf.constant([3, 4]), tf.range(16))
    before = [variable.numpy() for variable in network.variables]
    attacked = trades(eps=eps, step_size=eps / 4, steps=10, norm=norm).perturb(network, x, seeds).numpy()
    delta = (attacked - x).reshape(16, -1)
    length = np.abs(delta).max(-1) if norm == "linf" else np.linalg.norm(delta, axis=-1)
    assert (length <= eps * (1 + 1e-5)).all()
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    clean = network(x, training=False)
    raised = divergence(clean, network(attacked, training=False)).numpy()
    for _ in range(10):
        noise = rng.normal(size=delta.shape)
        noise = eps * (np.sign(noise) if norm == "linf" else noise / np.linalg.norm(noise, axis=-1, keepdims=True))
        point = np.clip(x + noise.reshape(x.shape), 0, 1)
        assert (raised > divergence(clean, network(point, training=False)).numpy()).all()
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_clean_and_attacked_images_are_normalised_apart() -> None:
    """Each by its own batch, and both moving the statistics."""
    network, twin = small_network(), small_network()
    x = np.random.default_rng(0).random([8, 6, 6, 1], np.float32)
    y, seeds = tf.range(8) % 5, image_seeds(tf.constant([3, 4]), tf.range(8))
    defence = trades(eps=0.2, step_size=0.05, steps=3, beta=2.0)
    attacked = defence.perturb(twin, x, seeds)
    clean, moved = (softmax(twin(images, training=True)) for images in (x, attacked))
    truth = np.mean(-np.log(clean[np.arange(8), y])) + 2 * np.mean(kl(clean, moved))
    loss, _ = defence.objective(network, x, y, seeds)
    assert float(loss) == pytest.approx(truth, rel=1e-4)
    for variable, value in zip(network.variables, twin.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-5, err_msg=variable.path)


def test_gradients_flow_through_both_predictions() -> None:
    """Against finite differences of the divergence in each side's logits."""
    rng, step = np.random.default_rng(1), 1e-6
    sides = [rng.normal(size=[1, 4]) for _ in range(2)]
    tensors = [tf.constant(side, tf.float64) for side in sides]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = divergence(*tensors)
    for number, gradient in enumerate(tape.gradient(value, tensors)):
        for j in range(4):
            high, low = ([side.copy() for side in sides] for _ in range(2))
            high[number][0, j] += step
            low[number][0, j] -= step
            slope = (kl(*map(softmax, high)) - kl(*map(softmax, low)))[0] / (2 * step)
            assert float(gradient[0, j]) == pytest.approx(slope, abs=1e-7)


def test_refused() -> None:
    with pytest.raises(UsageError, match="random_start=True"):
        Trades(fgsm(0.1))
    with pytest.raises(UsageError, match="beta=-1"):
        Trades(pgd(0.1, 0.05, 3), beta=-1)
