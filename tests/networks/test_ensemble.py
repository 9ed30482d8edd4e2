"""Ensembles: the log of the mean probability, as one network to everything else."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.attacks import pgd
from racl_tf.errors import UsageError
from racl_tf.evaluation import load_classifier
from racl_tf.networks.ensemble import Ensemble, log_mean_probabilities
from racl_tf.networks.resnet import ResNet18

SIZES: dict[str, Any] = {"channels": 2, "input_shape": (8, 8, 1)}


def make(members: int = 3) -> Ensemble:
    return Ensemble([ResNet18(5, seed=seed, **SIZES) for seed in range(members)])


@given(st.integers(0, 2**31), st.integers(1, 4), st.sampled_from([0.1, 3.0, 100.0]))
@settings(deadline=None, max_examples=20)
def test_log_mean_against_float64(seed: int, members: int, spread: float) -> None:
    """Also where probabilities underflow in float32, and where all do in float64 but for their logarithms."""
    logits = np.random.default_rng(seed).normal(0, spread, [members, 6, 4]).astype(np.float32)
    logs = logits.astype(np.longdouble) - logits.max(-1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(-1, keepdims=True))
    highest = logs.max(0)
    truth = highest + np.log(np.exp(logs - highest).mean(0))
    ours = log_mean_probabilities(list(logits)).numpy()
    np.testing.assert_allclose(ours, truth.astype(float), rtol=1e-5, atol=1e-5 * max(1.0, spread / 10))
    np.testing.assert_allclose(np.exp(ours.astype(float)).sum(-1), 1, rtol=1e-4)


def test_it_calls_its_members_in_the_same_mode_and_looks_like_one_network() -> None:
    ensemble = make()
    x = np.random.default_rng(0).random([4, 8, 8, 1], np.float32)
    twins = make().members
    for training in (True, False):
        truth = np.log(np.mean([tf.nn.softmax(member(x, training=training)) for member in twins], axis=0))
        np.testing.assert_allclose(ensemble(x, training=training), truth, rtol=1e-4, atol=1e-5)
    assert ensemble.input_shape == (None, 8, 8, 1)
    assert ensemble.image_shape == (8, 8, 1)
    assert ensemble.num_classes == 5
    assert len(ensemble.trainable_variables) == 3 * len(twins[0].trainable_variables)
    attacked = pgd(0.1, 0.05, 3)(ensemble, x, np.array([0, 1, 2, 3]))
    assert 0 < np.abs(attacked - x).max() <= 0.1 + 1e-6


def test_file_is_a_classifier(tmp_path: Path) -> None:
    ensemble = make(2)
    x = np.random.default_rng(0).random([4, 8, 8, 1], np.float32)
    ensemble(x, training=True)
    ensemble.save(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(load_classifier(tmp_path / "ensemble.keras").logits(x), ensemble(x), rtol=1e-5)


def test_members_must_agree() -> None:
    with pytest.raises(UsageError, match="at least one network"):
        Ensemble([])
    with pytest.raises(UsageError, match=r"\(None, 5\).*\(None, 4\)"):
        Ensemble([ResNet18(5, **SIZES), ResNet18(4, **SIZES)])
    keras_network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])
    assert Ensemble([keras_network, ResNet18(5, **SIZES)]).num_classes == 5
