"""The second order of DARTS against what differentiating through the step gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.search.second_order import unrolled_gradients


def test_a_quadratic_by_hand() -> None:
    """L_train = (w - a)^2 / 2, L_val = (w - 1)^2 / 2 + 0.3 a^2: w' = w - 0.1 (w - a), dL/da = 0.1 (w' - 1) + 0.6 a."""
    w, a = keras.Variable(2.0), keras.Variable(0.5)
    (gradient,), details = unrolled_gradients(
        lambda: ((w.value - 1) ** 2 / 2 + 0.3 * a.value**2, float(w)),
        lambda: ((w.value - a.value) ** 2 / 2, None),
        [a],
        [w],
        0.1,
    )
    ahead = 2.0 - 0.1 * (2.0 - 0.5)
    assert float(gradient) == pytest.approx(0.1 * (ahead - 1) + 0.6 * 0.5, rel=1e-3)
    assert details == pytest.approx(ahead)
    assert float(w) == 2.0
    assert float(a) == 0.5


def test_a_smooth_network_against_differentiation_through_the_step() -> None:
    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.normal(0, 0.7, shape).astype(np.float32)) for shape in ((5, 4), (4, 3))]
    alpha = keras.Variable(rng.normal(0, 0.5, 4).astype(np.float32))
    batches = [(rng.normal(size=(20, 5)).astype(np.float32), rng.integers(0, 3, 20)) for _ in range(2)]
    rate = 0.5

    def loss(batch: tuple, alpha: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        logits = tf.tanh(batch[0] @ first) * tf.exp(alpha) @ second
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(batch[1], logits))

    def here(batch: tuple) -> tuple[tf.Tensor, None]:
        return loss(batch, alpha.value, *(weight.value for weight in weights)), None

    before = [weight.numpy() for weight in weights]
    (ours,), _ = unrolled_gradients(lambda: here(batches[1]), lambda: here(batches[0]), [alpha], weights, rate)

    point, starts = tf.constant(alpha.numpy()), [tf.constant(value) for value in before]
    with tf.GradientTape() as outer:
        outer.watch(point)
        with tf.GradientTape() as inner:
            inner.watch(starts)
            training = loss(batches[0], point, *starts)
        ahead = [w - rate * g for w, g in zip(starts, inner.gradient(training, starts), strict=True)]
        validation = loss(batches[1], point, *ahead)
    exact = outer.gradient(validation, point)
    with tf.GradientTape() as tape:
        tape.watch(point)
        validation = loss(batches[1], point, *ahead)
    direct = tape.gradient(validation, point)
    assert np.abs(exact - direct).max() > 1e-2  # what the second order adds
    np.testing.assert_allclose(ours, exact, atol=2e-4)
    for weight, value in zip(weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_state_that_the_losses_move_is_as_before_afterwards() -> None:
    w, a, statistics = keras.Variable(2.0), keras.Variable(0.5), keras.Variable(3.0, trainable=False)

    def loss() -> tuple[tf.Tensor, None]:
        statistics.assign(0.9 * statistics.value + 0.1 * w.value)
        return (w.value - a.value) ** 2, None

    unrolled_gradients(loss, loss, [a], [w], 0.1)
    assert float(statistics) != 3
    statistics.assign(3.0)
    unrolled_gradients(loss, loss, [a], [w], 0.1, [statistics])
    assert float(statistics) == 3
