"""An image with outputs that are not finite is misclassified, and a gradient that is not finite moves nothing."""

import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import Classifier, make_attack
from racl_tf.evaluation import evaluate, transfer

COUNT, EPS = 12, 0.1
X = (np.round(255 * np.random.default_rng(0).uniform(0.3, 0.7, (COUNT, 4, 4, 1))) / 255).astype(np.float32)
Y = np.zeros(COUNT, np.int32)  # which argmax answers for NaN
ATTACKS = ("fgsm", "pgd5", "mim5", "apgd", "apgd_margin", "fab", "square")


def breaks_off(value: float):
    """Returns a model of class 0 whose logits are not finite from half of the ball on."""

    def model(images: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(images, [-1, 16])
        mean = tf.reduce_mean(rows, axis=1)
        distance = tf.reduce_min(tf.reduce_max(tf.abs(rows[:, None] - X.reshape(1, COUNT, 16)), axis=2), axis=1)
        logits = tf.stack([5 + 0 * mean, mean, -mean], axis=1)
        return tf.where(distance[:, None] > EPS / 2, value, logits)

    return model


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_finds_it_and_the_evaluation_says_so(name, norm, value, caplog) -> None:
    eps = EPS if norm == "linf" else 4 * EPS
    attack = {name: make_attack(name, eps, eps, norm)}
    with caplog.at_level("WARNING"):
        evaluation = evaluate(Classifier(breaks_off(value)), (X, Y), attack, progress=False)
    assert (evaluation.count("clean"), evaluation.count(name)) == (COUNT, 0)
    assert f"{name}: {COUNT} images fell because the model's outputs for them are not finite" in caplog.text


@pytest.mark.parametrize("name", ATTACKS)
def test_a_gradient_that_is_not_finite_makes_no_image_of_nan(name) -> None:
    def model(images: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(images, [-1, 16])
        nothing = tf.sqrt(0 * tf.reduce_sum(rows, axis=1))  # whose derivative is 0 times infinity
        return tf.stack([5 + nothing, nothing, nothing], axis=1)

    attack = make_attack(name, EPS, EPS, "linf")
    assert evaluate(Classifier(model), (X, Y), {name: attack}, progress=False).count(name) == COUNT
    assert np.isfinite(attack[0](Classifier(model), X, Y)).all()


def test_a_transfer_counts_it_as_misclassified() -> None:
    models = {"broken": Classifier(breaks_off(np.nan))}
    attack = make_attack("pgd5", EPS, EPS, "linf")[0]
    assert transfer(models, models, (X, Y), attack, progress=False).count("broken", "broken") == 0
