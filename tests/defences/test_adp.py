"""ADP: its loss, determinant and gradient against plain numpy, and what it refuses."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.defences import ADP
from racl_tf.defences.adp import log_diversity
from racl_tf.errors import UsageError
from racl_tf.networks.ensemble import Ensemble

SEEDS = tf.zeros([5, 2], tf.int32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum(-1, keepdims=True)


def diversity(logits: np.ndarray, label: int) -> float:
    """Returns log(det(M^T M + 1e-6 I)) of logits (members, classes): entries are deleted, columns scaled."""
    columns = np.delete(softmax(logits), label, axis=1).T
    columns = columns / np.sqrt((columns**2).sum(0))
    return float(np.log(np.linalg.det(columns.T @ columns + 1e-6 * np.eye(len(logits)))))


def test_diversity_is_the_determinant() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, [3, 20, 6]).astype(np.float32)
    labels = rng.integers(0, 6, 20)
    truth = [diversity(logits[:, i], label) for i, label in enumerate(labels)]
    np.testing.assert_allclose(log_diversity(tuple(logits), labels), truth, rtol=1e-4)


def test_diversity_of_two_members_is_the_squared_sine_between_them() -> None:
    logits = (tf.math.log([[0.2, 0.4, 0.4]]), tf.math.log([[0.5, 0.5, 1e-9]]))
    assert float(log_diversity(logits, [0])[0]) == pytest.approx(np.log(1 / 2), abs=1e-4)


def test_members_that_agree_and_members_that_are_sure_keep_it_finite() -> None:
    same = tf.constant([[1.0, 2.0, 3.0, 4.0]])
    assert float(log_diversity((same, same, same), [0])[0]) == pytest.approx(np.log(3e-12 + 1e-18), abs=1e-2)
    sure = tuple(tf.one_hot([0], 4) * 500 + tf.random.stateless_normal([1, 4], [k, 0]) for k in range(3))
    tensors = list(sure)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = log_diversity(tuple(tensors), [0])
    assert np.isfinite(value).all()
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(value, tensors))


def linear_ensemble(kernels: np.ndarray) -> Ensemble:
    members = []
    for kernel in kernels:
        member = keras.Sequential(
            [keras.Input((kernel.shape[0],)), keras.layers.Dense(kernel.shape[1], use_bias=False)]
        )
        member.layers[-1].kernel.assign(kernel)
        members.append(member)
    return Ensemble(members)


def loss_by_hand(kernels: np.ndarray, x: np.ndarray, y: np.ndarray, alpha: float, beta: float) -> float:
    losses = []
    for image, label in zip(x, y, strict=True):
        logits = np.stack([image @ kernel for kernel in kernels])
        predictions = softmax(logits)
        mean = predictions.mean(0)
        entropy = -(mean * np.log(mean)).sum()
        losses.append(-np.log(predictions[:, label]).sum() - alpha * entropy - beta * diversity(logits, label))
    return float(np.mean(losses))


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 0.5), (0.0, 0.0), (1.0, 0.0)])
def test_loss_and_gradient_by_hand(alpha: float, beta: float) -> None:
    rng, step = np.random.default_rng(0), 1e-5
    kernels = rng.normal(size=[3, 4, 5]).astype(np.float32).astype(np.float64)
    x, y = rng.random([5, 4]).astype(np.float32), np.array([0, 1, 2, 3, 4])
    ensemble = linear_ensemble(kernels)
    weights = [variable.value for variable in ensemble.trainable_variables]
    with tf.GradientTape() as tape:
        loss, logits = ADP(alpha, beta).objective(ensemble, x, y, SEEDS)
    assert float(loss) == pytest.approx(loss_by_hand(kernels, x, y, alpha, beta), rel=1e-5)
    np.testing.assert_allclose(logits, ensemble(x), rtol=1e-5)
    gradients = np.stack(tape.gradient(loss, weights))
    for place in itertools.product(range(3), range(4), range(5)):
        moved = [kernels.copy(), kernels.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        high, low = (loss_by_hand(kernel, x, y, alpha, beta) for kernel in moved)
        assert gradients[place] == pytest.approx((high - low) / (2 * step), abs=2e-4)


def test_refused() -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match=r"Ensemble\(\[first, second, third\]\)\. Received: Sequential"):
        ADP().objective(network, tf.zeros([5, 2]), tf.zeros(5, tf.int32), SEEDS)
    with pytest.raises(UsageError, match="alpha=-1"):
        ADP(alpha=-1)
