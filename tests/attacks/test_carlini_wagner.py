"""The attack of Carlini and Wagner: the nearest misclassified image, where it is known, and each image alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import CarliniWagner, Classifier
from racl_tf.errors import UsageError
from racl_tf.evaluation import evaluate

SHAPE, CLASSES = (3, 3, 1), 4


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9, CLASSES)).astype(np.float32)


@pytest.fixture(scope="module")
def linear(weights: np.ndarray) -> Classifier:
    return Classifier(lambda x: tf.reshape(x, [-1, 9]) @ weights)


@pytest.fixture(scope="module")
def data(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images around grey, so that the nearest misclassified ones are in [0, 1]."""
    images = np.random.default_rng(1).uniform(0.35, 0.65, (12, *SHAPE)).astype(np.float32)
    return images, (images.reshape(-1, 9) @ weights).argmax(-1).astype(np.int32)


def closed_form(weights: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The distance to the nearest other class, min over j of (z_y - z_j) / ||w_y - w_j||."""
    logits = images.reshape(-1, 9) @ weights
    distances = []
    for row, label in zip(logits, labels, strict=True):
        others = [other for other in range(CLASSES) if other != label]
        distances.append(min((row[label] - row[j]) / np.linalg.norm(weights[:, label] - weights[:, j]) for j in others))
    return np.array(distances)


def test_on_a_linear_classifier_it_finds_the_nearest(
    weights: np.ndarray, linear: Classifier, data: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = data
    nearest = closed_form(weights, images, labels)
    found = CarliniWagner(10.0, 9, 300)(linear, images, labels)
    distance = np.linalg.norm((found - images).reshape(len(images), -1), axis=1)
    assert (linear.logits(found).argmax(-1) != labels).all()
    assert found.min() > 0
    assert found.max() < 1
    np.testing.assert_array_less(nearest * (1 - 1e-4), distance)
    np.testing.assert_allclose(distance, nearest, rtol=0.03)


def test_an_image_counts_inside_eps_alone(
    weights: np.ndarray, linear: Classifier, data: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = data
    nearest = closed_form(weights, images, labels)
    ordered = np.sort(nearest)
    gap = np.diff(ordered).argmax()
    eps = float(ordered[gap : gap + 2].mean())  # which none is near to
    assert (np.abs(nearest / eps - 1) > 0.03).all()
    attack = CarliniWagner(eps, 9, 300)
    evaluation = evaluate(linear, data, {"cw_l2": attack}, batch_size=5, progress=False)
    np.testing.assert_array_equal(evaluation.correct["cw_l2"], nearest > eps)
    found = attack(linear, images, labels)
    np.testing.assert_array_equal((found == images).all(axis=(1, 2, 3)), nearest > eps)


def test_records_say_how_many_steps_it_has() -> None:
    assert CarliniWagner(0.5, 4, 30).to_dict() == {
        "kind": "CarliniWagner", "eps": 0.5, "binary_search_steps": 4, "iterations": 30, "norm": "l2",
        "learning_rate": 0.01, "confidence": 0.0, "steps": 120,
    }  # fmt: skip


def test_each_image_is_attacked_alone(linear: Classifier, data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data
    attack = CarliniWagner(10.0, 4, 40)
    together = attack(linear, images, labels)
    for index in (0, 7):
        alone = attack(linear, images[index : index + 1], labels[index : index + 1])
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)


def plain(weights: np.ndarray, image: np.ndarray, label: int, searches: int, iterations: int) -> float:
    """The distance that the attack finds, in float64 and by Keras's Adam, as the paper and its code have it."""
    x, best, low, high, constant = image.reshape(-1).astype(np.float64), np.inf, 0.0, np.inf, 1e-3
    for _ in range(searches):
        w = keras.Variable(np.arctanh(0.999999 * (2 * x - 1)), dtype="float64")
        adam = keras.optimizers.Adam(0.01, epsilon=1e-8)
        adam.build([w])
        success = False
        for _ in range(iterations):
            with tf.GradientTape() as tape:
                moved = (tf.tanh(w.value) + 1) / 2
                logits = tf.linalg.matvec(weights.T.astype(np.float64), moved)
                other = tf.reduce_max(tf.boolean_mask(logits, np.arange(CLASSES) != label))
                loss = tf.reduce_sum((moved - x) ** 2) + constant * tf.maximum(logits[label] - other, 0)
            if other > logits[label]:
                success, best = True, min(best, float(tf.norm(moved - x)))
            adam.apply([tape.gradient(loss, w.value)], [w])
        low, high = (low, constant) if success else (constant, high)
        constant = 10 * constant if np.isinf(high) else (low + high) / 2
    return best


def test_it_does_what_the_paper_says(
    weights: np.ndarray, linear: Classifier, data: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = data
    found = CarliniWagner(10.0, 6, 30)(linear, images[:2], labels[:2])
    for index in range(2):
        distance = np.linalg.norm(found[index] - images[index])
        expected = plain(weights, images[index], labels[index], 6, 30)
        assert distance == pytest.approx(expected if np.isfinite(expected) else 0.0, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "linf"}, "`norm`.*'l2'.*cw20"),
        ({"binary_search_steps": 0}, "`binary_search_steps`.*positive integer"),
        ({"iterations": 0}, "`iterations`.*positive integer"),
        ({"learning_rate": 0.0}, "`learning_rate`"),
        ({"confidence": -1.0}, "`confidence`"),
        ({"eps": 0.0}, "`eps`"),
    ],
    ids=str,
)
def test_values_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CarliniWagner(**{"eps": 0.5} | arguments)
