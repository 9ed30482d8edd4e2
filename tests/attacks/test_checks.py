"""What cannot be attacked is refused with words on how to mend it."""

import keras
import numpy as np
import pytest

from racl_tf.attacks import Classifier, fgsm
from racl_tf.errors import UsageError

GREY = np.full((2, 12), 0.5)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.full((2, 12), 128, np.uint8), [0, 1], "uint8.*/ 255"),
        (2 * GREY + 0.5, [0, 1], r"lie in \[0, 1\].*from 1.5 to 1.5"),
        (-GREY, [0, 1], r"lie in \[0, 1\]"),
        (np.where(np.eye(2, 12), np.nan, GREY), [0, 1], "without NaN"),
        (GREY[0], [0, 1], r"shape \(12,\)"),
        (GREY[:0], [], "N >= 1"),
        (GREY, [0.0, 1.0], "integers.*float64"),
        (GREY, [0, 1, 2], r"shape \(2,\).*shape \(3,\)"),
        (GREY, np.eye(2, dtype=int), "argmax"),
        (GREY, [0, -1], "not be negative.*-1"),
        (GREY, np.array([0, 2**32 + 1]), "beyond the integers of 32 bits.*4294967297"),
        (GREY, np.array([0, 2**32], np.uint64), "beyond the integers of 32 bits"),
        (GREY, np.array([0, 2**31], np.uint32), "beyond the integers of 32 bits.*2147483648"),
        (GREY, np.array([0, 4], np.uint8), "number of classes, 4.*label 4"),
        (GREY, [0, 4], "number of classes, 4.*label 4"),
    ],
)
def test_invalid_images_and_labels(network, x, y, message) -> None:
    with pytest.raises(UsageError, match=message):
        fgsm(0.1)(network, x, y)


@pytest.mark.parametrize("index", [[0], [0.0, 1.0], [[0, 1]]], ids=str)
def test_invalid_index(network, index) -> None:
    with pytest.raises(UsageError, match="`index` must be one integer per image"):
        fgsm(0.1)(network, GREY, [0, 1], index=index)


def test_dlr_on_two_classes(linear) -> None:
    with pytest.raises(UsageError, match=r"loss='dlr'.*needs at least 3 classes. Received: a model of 2"):
        fgsm(0.1, loss="dlr")(linear, GREY[:, :4], [0, 1])


def test_only_keras_models() -> None:
    with pytest.raises(
        UsageError, match=r"Only a model of Keras 3 or a Classifier.*Received: function.*Attack.perturb"
    ):
        fgsm(0.1)(lambda x: x, GREY, [0, 1])


@pytest.mark.parametrize(
    ("logits_of", "message"),
    [
        (lambda x: x[:, :1], r"2 classes at least. Received: \(3, 1\)"),
        (lambda x: x[:, None], r"shape \(N, classes\)"),
        (lambda x: x * np.nan, "not finite"),
    ],
)
def test_invalid_logits(logits_of, message) -> None:
    with pytest.raises(UsageError, match=message):
        fgsm(0.1)(Classifier(logits_of), np.full((1, 4), 0.2), np.array([0]))


def test_images_of_another_shape() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    with pytest.raises(UsageError, match=r"does not take images of shape \(12,\)\. .*expected axis -1"):
        fgsm(0.1)(model, GREY, [0, 1])
