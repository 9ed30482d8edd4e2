"""The confidence gap: the loss's terms by hand, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.defences import ConfidenceGap
from racl_tf.defences.confidence_gap import soft_gap
from racl_tf.errors import UsageError
from racl_tf.networks.l2_nonexpansive import L2Nonexpansive


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]


def test_three_terms_by_hand() -> None:
    network = L2Nonexpansive(4, channels=2, input_shape=(6, 6, 1), seed=1)
    u, v = np.array([1.0, 2.0, 5.0, 30.0]), 7.0
    network.class_scales.assign(np.log(u))
    network.scale.assign(np.log(v))
    x, y = np.random.default_rng(0).random([5, 6, 6, 1], np.float32), np.array([0, 1, 2, 3, 0])
    logits = network(x).numpy().astype(np.float64)
    p = np.exp(3 * logits) / np.exp(3 * logits).sum(-1, keepdims=True)
    terms = cross_entropy(u * logits, y), cross_entropy(v * logits, y), np.log(1 - p[np.arange(5), y]) / 3
    truth = np.mean(terms[0] + 0.5 * terms[1] + 2.0 * terms[2])
    loss, shown = ConfidenceGap(accuracy=0.5, gap=2.0, z=3.0).objective(network, x, y, tf.zeros([5, 2], tf.int32))
    assert float(loss) == pytest.approx(truth, rel=1e-5)
    np.testing.assert_allclose(shown, logits, rtol=1e-5)


@given(st.integers(0, 2**31), st.sampled_from([0.1, 1.0, 50.0]), st.sampled_from([1.0, 10.0]))
@settings(deadline=None, max_examples=20)
def test_soft_gap_is_minus_the_gap_but_for_its_softness(seed: int, spread: float, z: float) -> None:
    """With K classes it lies within [log(1/(1 + e^{z gap}))/z, that + log(K - 1)/z], where the label leads or not."""
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, spread, [10, 6]).astype(np.float32), rng.integers(0, 6, 10)
    label = logits[np.arange(10), labels].astype(np.float64)
    others = np.array([np.delete(row, k).max() for row, k in zip(logits, labels, strict=True)])
    lower = -np.logaddexp(0, z * (label - others)) / z
    values = soft_gap(tf.constant(logits), labels, z).numpy()
    slack = 1e-5 * max(1, spread)
    assert (values >= lower - slack).all()
    assert (values <= np.minimum(lower + np.log(5) / z, 0) + slack).all()


def test_refused() -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match=r"make_network\('l2nnn'\).*Received: Sequential"):
        ConfidenceGap().objective(network, tf.zeros([5, 2]), tf.zeros(5, tf.int32), tf.zeros([5, 2], tf.int32))
    with pytest.raises(UsageError, match="z=0"):
        ConfidenceGap(z=0)
