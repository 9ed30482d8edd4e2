"""AutoAttack: the published settings, and exact robust accuracies on linear models."""

import dataclasses

import keras
import numpy as np
import pytest

from racl_tf.attacks.apgd import APGD
from racl_tf.attacks.autoattack import autoattack
from racl_tf.attacks.fab import FAB
from racl_tf.attacks.square import Square
from racl_tf.errors import UsageError
from racl_tf.evaluation import evaluate


def short(attacks, steps=25):
    return tuple(dataclasses.replace(attack, steps=steps) for attack in attacks)


def linear_network(classes, seed=0):
    """logits x W on images of 2x2 grey pixels."""
    network = keras.Sequential(
        [keras.Input([2, 2, 1]), keras.layers.Flatten(), keras.layers.Dense(classes, use_bias=False)]
    )
    network.layers[-1].kernel.assign(np.random.default_rng(seed).normal(size=(4, classes)))
    return network


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_standard_version_is_the_published_one(norm) -> None:
    """Croce and Hein (2020), Section 5 and their code: 100 + 9 * 100 steps of APGD, 9 * 100 of FAB, 5000 queries."""
    assert autoattack(0.3, norm) == (
        APGD(0.3, 100, norm=norm, loss="cross_entropy", restarts=1),
        APGD(0.3, 100, norm=norm, loss="dlr", targets=9, restarts=1),
        FAB(0.3, 100, norm=norm, targets=9),
        Square(0.3, 5000, norm=norm, p_init=0.8, rescale=False, restarts=1),
    )
    assert [attack.runs(10) for attack in autoattack(0.3, norm)] == [1, 9, 9, 1]
    assert [attack.runs(4) for attack in autoattack(0.3, norm)] == [1, 3, 3, 1]


def test_random_version_averages_gradients() -> None:
    first, second = autoattack(0.3, version="rand")
    assert isinstance(first, APGD)
    assert isinstance(second, APGD)
    assert (first.loss, second.loss, first.targets, second.targets) == ("cross_entropy", "dlr", 0, 0)
    assert (first.eot, second.eot, first.restarts, second.restarts) == (20, 20, 1, 1)


@pytest.mark.parametrize(("norm", "dual", "eps"), [("linf", 1, 0.15), ("l2", 2, 0.3)])
def test_linear_model_stands_by_its_distances(norm, dual, eps) -> None:
    """An image falls if eps exceeds the least of (z_y - z_j) / ||w_y - w_j|| over j, in the dual norm."""
    network = linear_network(5)
    x = np.random.default_rng(1).uniform(0.3, 0.7, (60, 2, 2, 1)).astype(np.float32)
    kernel, logits = network.layers[-1].kernel.numpy(), network(x).numpy()
    y = logits.argmax(axis=1)
    gaps = logits.max(axis=1, keepdims=True) - logits
    lengths = np.linalg.norm(kernel[:, y].T[:, :, None] - kernel, ord=dual, axis=1)
    distances = np.min(gaps / np.where(lengths > 0, lengths, np.nan), axis=1, initial=np.inf, where=lengths > 0)
    clear = np.abs(distances / eps - 1) > 0.02
    evaluation = evaluate(network, (x[clear], y[clear]), {"autoattack": short(autoattack(eps, norm))}, progress=False)
    expected = distances[clear] > eps
    assert 0.2 < expected.mean() < 0.8
    np.testing.assert_array_equal(evaluation.correct["autoattack"], expected)


def test_ensemble_leaves_what_stands_under_every_member() -> None:
    keras.utils.set_random_seed(3)
    hidden = keras.layers.Dense(12, "tanh", kernel_initializer="glorot_normal")
    network = keras.Sequential([keras.Input([3, 3, 1]), keras.layers.Flatten(), hidden, keras.layers.Dense(5)])
    x = np.random.default_rng(2).random((40, 3, 3, 1), np.float32)
    y = network(x).numpy().argmax(axis=1)
    members = short(autoattack(0.04), steps=4)
    names = {f"{number}": member for number, member in enumerate(members)}
    evaluation = evaluate(network, (x, y), {"all": members, **names}, progress=False)
    alone = np.array([evaluation.correct[name] for name in names])
    assert len({tuple(stands) for stands in alone}) > 1
    np.testing.assert_array_equal(evaluation.correct["all"], alone.all(axis=0))


def test_few_classes_need_another_loss() -> None:
    network, x = linear_network(2), np.random.default_rng(1).random((5, 2, 2, 1), np.float32)
    y = network(x).numpy().argmax(axis=1)
    with pytest.raises(UsageError, match="margin"):
        evaluate(network, (x, y), {"autoattack": short(autoattack(0.01))}, progress=False)
    evaluation = evaluate(network, (x, y), {"autoattack": short(autoattack(0.99, loss="margin"))}, progress=False)
    assert evaluation.accuracy("autoattack") < 1


def test_unknown_version_is_named() -> None:
    with pytest.raises(UsageError, match=r"'standart'.*'standard'"):
        autoattack(0.1, version="standart")
