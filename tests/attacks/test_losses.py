"""Each loss against its definition written plainly in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from racl_tf.attacks.losses import LOSSES, cross_entropy, dlr, margin, targeted_dlr
from racl_tf.errors import UsageError

rows = arrays(np.float32, 5, elements=st.floats(-20, 20, width=16), unique=True)


@given(z=rows, label=st.integers(0, 4))
@settings(deadline=None, max_examples=50)
def test_definitions(z, label) -> None:
    def value(loss):
        return loss(tf.constant(z[None]), tf.constant([label])).numpy()[0]

    ordered, other = np.sort(z.astype(float))[::-1], np.delete(z, label).max()
    shifted = z - z.max().astype(float)
    np.testing.assert_allclose(value(cross_entropy), np.log(np.exp(shifted).sum()) - shifted[label], atol=1e-5)
    assert value(margin) == other - z[label]
    assert (value(margin) > 0) == (z.argmax() != label)
    np.testing.assert_allclose(value(dlr), -(z[label] - other) / (ordered[0] - ordered[2]), rtol=1e-5)
    expected = -(other - z[label]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)
    np.testing.assert_allclose(value(targeted_dlr), expected, rtol=1e-5)


def gradient(loss, logits, labels):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits, tf.constant(labels))
    return tape.gradient(value, logits).numpy()


def test_large_logits_silence_the_cross_entropy_alone() -> None:
    logits = [[900.0, 100.0, 0.0, -50.0]]
    assert not gradient(cross_entropy, logits, [0]).any()
    assert gradient(margin, logits, [0]).any()
    assert gradient(dlr, logits, [0]).any()


def test_dlr_ignores_shift_and_scale() -> None:
    logits, labels = tf.random.stateless_normal([6, 5], [1, 2]), tf.constant([0, 1, 2, 3, 4, 0])
    np.testing.assert_allclose(dlr(100 * logits + 7, labels), dlr(logits, labels), rtol=1e-4)


def test_targeted_dlr_moves_a_target_that_ranks_third() -> None:
    """The plain DLR is constantly 1 there, so it has no gradient."""
    logits, target = [[3.0, 2.0, 1.0, 0.0]], [2]
    np.testing.assert_allclose(gradient(dlr, logits, target), 0.0, atol=1e-6)
    assert gradient(targeted_dlr, logits, target)[0, 2] > 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_logits_have_finite_gradients(loss) -> None:
    for objective in LOSSES[loss]:
        assert np.isfinite(gradient(objective, [[1.0] * 4], [0])).all()


@pytest.mark.parametrize(("loss", "classes"), [(dlr, 3), (targeted_dlr, 4)])
def test_dlr_needs_classes(loss, classes) -> None:
    loss(tf.zeros([1, classes]), tf.constant([0]))
    with pytest.raises(UsageError, match=rf"at least {classes} classes\. Received: logits of {classes - 1}"):
        loss(tf.zeros([1, classes - 1]), tf.constant([0]))
