"""What the defences are for, on handwritten digits: each trained as a plain network is, then attacked as its paper is.

Measured with the seeds below, of 359 test images, in percent: PGD-20 at L-infinity eps 0.1 leaves 60 of plain training,
83 of PGD's, 82 of fast training's and 84 of TRADES'.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from racl_tf.attacks import GradientAttack, pgd
from racl_tf.attacks.losses import margin
from racl_tf.data import Dataset, batches, load_dataset
from racl_tf.defences import ADP, ConfidenceGap, Defence, make_defence, plain
from racl_tf.networks.ensemble import Ensemble
from racl_tf.networks.l2_nonexpansive import L2Nonexpansive
from racl_tf.training.adversarial_trainer import AdversarialTrainer

pytestmark = pytest.mark.slow

THREAT: dict[str, Any] = {"eps": 0.1, "step_size": 0.03, "steps": 5}
Measure = Callable[[keras.Model, Defence, list[GradientAttack]], tuple[float, float]]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def small_network(seed: int = 0, size: int = 8) -> keras.Model:
    start = [keras.initializers.HeNormal(seed=10 * seed + number) for number in range(3)]
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer=start[0]),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", kernel_initializer=start[1]),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_initializer=start[2]),
        ]
    )


@pytest.fixture
def measure(digits: Dataset) -> Measure:
    """Trains a network and returns its accuracy on clean images and on those that stand under all attacks."""
    images, labels = digits.test.images(), digits.test.y

    def run(network: keras.Model, defence: Defence, attacks: list[GradientAttack]) -> tuple[float, float]:
        nonexpansive = isinstance(network, L2Nonexpansive)
        optimizer = keras.optimizers.Adam(3e-3) if nonexpansive else keras.optimizers.SGD(0.05, momentum=0.9)
        trainer = AdversarialTrainer(network, defence)
        trainer.compile(optimizer, weight_decay=0.0 if nonexpansive else 3e-4)
        trainer.fit(batches(digits.train, 64, seed=1), steps_per_epoch=22, epochs=15 if nonexpansive else 12, verbose=0)
        stands = np.ones(len(labels), bool)
        for attack in attacks:
            stands &= np.argmax(network(attack(network, images, labels)), -1) == labels
        return float(np.mean(np.argmax(network(images), -1) == labels)), float(stands.mean())

    return run


def test_adversarial_defences_withstand_pgd_where_plain_training_does_not(measure: Measure) -> None:
    judge = [pgd(0.1, 0.0125, 20)]
    results = {
        name: measure(small_network(), make_defence(name, **THREAT), judge)
        for name in ("none", "pgd", "fgsm_rs", "free", "trades")
    }
    assert min(clean for clean, _ in results.values()) > 0.93
    assert results["none"][1] < 0.7
    for name in ("pgd", "fgsm_rs", "free", "trades"):
        assert results[name][1] > results["none"][1] + 0.15, results


def test_adp_withstands_small_perturbations_better_than_an_ensemble_trained_plainly(measure: Measure) -> None:
    """At eps 0.05, under PGD-40 on cross-entropy and on the margin, of which an image has to stand both.

    AutoAttack agrees there: measured once, it leaves 93% of ADP's and 85% of the plain ensemble's. At eps 0.1 it
    leaves 66% and 61%, which 359 images hardly tell apart, and PGD-100 on cross-entropy 76% and 62%: most of what ADP
    seems to gain there is a flat loss, not robustness.
    """
    judge = [pgd(0.05, 0.005, 40), pgd(0.05, 0.005, 40, loss="margin")]
    results = []
    for defence in (ADP(), ADP(alpha=0.0, beta=0.0)):
        ensemble = Ensemble([small_network(seed) for seed in range(3)])
        results.append(measure(ensemble, defence, judge))
    assert min(clean for clean, _ in results) > 0.93
    assert results[0][1] > results[1][1] + 0.03, results


def test_l2_nonexpansive_network_withstands_and_certifies_l2_perturbations(measure: Measure, digits: Dataset) -> None:
    """At L2 eps 0.6 and, without any attack, 0.2: what certifies the latter is the term of the loss for the gap.

    An attack of radius 0.2 finds none of the certified images, though it finds others.
    """
    judge = [pgd(0.6, 0.1, 20, norm="l2"), pgd(0.6, 0.1, 20, norm="l2", loss="margin")]
    images, labels = digits.test.images(), digits.test.y
    robust, certified = [], []
    for defence in (ConfidenceGap(gap=0.0), ConfidenceGap()):
        network = L2Nonexpansive(10, channels=8, input_shape=(8, 8, 1), mean=digits.mean)
        clean, robust_accuracy = measure(network, defence, judge)
        assert clean > 0.9
        robust.append(robust_accuracy)
        certified.append(-margin(network(images), labels).numpy() > 0.2 * np.sqrt(2))
    assert robust[1] > measure(small_network(), plain(), judge)[1] + 0.05, robust
    assert certified[1].mean() > certified[0].mean() + 0.1
    attacked = pgd(0.2, 0.03, 20, norm="l2", loss="margin")(network, images, labels)
    stands = np.argmax(network(attacked), -1) == labels
    assert stands[certified[1]].all()
    assert stands.mean() < clean


def test_l2_nonexpansive_network_withstands_l2_perturbations_of_mnist(data_dir: str) -> None:
    """At L2 eps 1.5, of 500 test images: measured once, 59% where a plainly trained network keeps 8%."""
    mnist = load_dataset("mnist", train_size=10000, test_size=500, data_dir=data_dir)
    images, labels = mnist.test.images(), mnist.test.y
    robust = []
    for network, defence in (
        (small_network(size=28), plain()),
        (L2Nonexpansive(10, channels=8, input_shape=(28, 28, 1), mean=mnist.mean), ConfidenceGap()),
    ):
        trainer = AdversarialTrainer(network, defence)
        trainer.compile(keras.optimizers.Adam(3e-3), weight_decay=0.0)
        trainer.fit(batches(mnist.train, 128, seed=1), steps_per_epoch=78, epochs=6, verbose=0)
        stands = np.ones(len(labels), bool)
        for loss in ("cross_entropy", "margin"):
            attack = pgd(1.5, 0.15, 40, norm="l2", loss=loss)
            stands &= np.argmax(network(attack(network, images, labels)), -1) == labels
        robust.append(stands.mean())
    assert robust[1] > robust[0] + 0.3, robust
