"""The adversarial images of an evaluation: misclassified, in the ball, and those that it counted."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import APGD, Attack, fgsm, pgd
from racl_tf.evaluation import evaluate, find_adversarial_images
from racl_tf.files import read_arrays


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])
    model.layers[-1].bias.assign([0.0, 0.1, -0.1, 0.1, 0.0])
    return model


@pytest.fixture(scope="module")
def data(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).random((41, 4, 4, 1), np.float32)
    labels = model(images).numpy().argmax(-1)
    labels[::7] = (labels[::7] + 1) % 5  # misclassified clean
    return images, labels


@pytest.mark.parametrize(
    "plan",
    [(fgsm(0.05),), (pgd(0.05, 0.02, 6, restarts=2),), (fgsm(0.01), APGD(0.05, steps=5, loss="dlr", targets=2))],
    ids=["fgsm", "restarts", "ensemble"],
)
def test_they_are_those_that_were_counted(
    model: keras.Model, data: tuple[np.ndarray, np.ndarray], plan: tuple[Attack, ...], tmp_path: pathlib.Path
) -> None:
    evaluation = evaluate(model, data, {"weak": fgsm(0.001), "strong": plan}, batch_size=16, progress=False)
    found = find_adversarial_images(model, data, evaluation, kept=100, batch_size=16)
    assert found is not None
    assert found.attack == "strong"
    fallen = evaluation.clean & ~evaluation.correct["strong"]
    assert 0 < fallen.sum() < len(fallen)
    np.testing.assert_array_equal(found.index, np.flatnonzero(fallen))
    images, labels = data
    np.testing.assert_array_equal(found.clean, images[found.index])
    assert np.abs(found.adversarial - found.clean).max() <= 0.05 + 1e-6
    np.testing.assert_array_equal(found.predicted, model(found.adversarial).numpy().argmax(-1))
    assert (found.predicted != labels[found.index]).all()
    found.save(tmp_path / "found.npz")
    assert str(read_arrays(tmp_path / "found.npz")["attack"]) == "strong"


def test_there_are_none_where_nothing_fell(model: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> None:
    evaluation = evaluate(model, data, {"weak": fgsm(1e-6)}, progress=False)
    assert find_adversarial_images(model, data, evaluation) is None


def test_images_without_finite_outputs_are_taken_for_no_class(data: tuple[np.ndarray, np.ndarray]) -> None:
    """Not for the class 0 that argmax says of NaN."""
    images, _ = data

    class Breaking(keras.layers.Layer):
        def call(self, logits: tf.Tensor) -> tf.Tensor:
            return tf.where(logits[:, :1] < 1.9, float("nan"), logits)

    summed = keras.layers.Dense(5)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), summed, Breaking()])
    summed.kernel.assign(np.eye(5)[:1].repeat(16, axis=0))
    darker = images * 2 / images.sum(axis=(1, 2, 3), keepdims=True)  # whose first logits are 2, all others 0
    labels = np.zeros(len(images), np.int32)
    evaluation = evaluate(model, (darker, labels), {"fgsm": fgsm(0.05)}, progress=False)
    found = find_adversarial_images(model, (darker, labels), evaluation)
    assert found is not None
    assert len(found.predicted) == len(images)
    assert (found.predicted == -1).all()
