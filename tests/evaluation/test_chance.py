"""Figures of models that do no better than chance are not taken for results."""

import logging

import keras
import numpy as np
import pytest

from racl_tf.attacks import Classifier, fgsm
from racl_tf.attacks.classifier import own_bounds
from racl_tf.data import load_dataset
from racl_tf.evaluation import evaluate, sweep_eps, transfer
from racl_tf.evaluation.chance import chance_warning

LABELS = np.arange(200) % 4


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        (LABELS, ""),
        (np.where(np.arange(200) % 3, LABELS, 0), ""),
        (0 * LABELS, "near chance, and 100% of them are put in class 0"),
        (np.random.default_rng(0).permutation(LABELS), "near chance."),
        (np.where(np.arange(200) < 185, 1, LABELS), "of them are put in class 1"),
    ],
)
def test_chance_and_one_class_are_noticed(predictions: np.ndarray, expected: str) -> None:
    found = chance_warning(LABELS, predictions, 4)
    assert expected in found
    assert bool(found) == bool(expected)


def test_a_set_of_one_class_alone_may_be_put_there() -> None:
    assert chance_warning(np.full(50, 3), np.full(50, 3), 10) == ""


def test_it_is_said_once_of_a_model_wherever_it_is_shown_images(caplog: pytest.LogCaptureFixture) -> None:
    test = load_dataset("digits", test_size=40).test
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer="zeros")]
    data, attack = (test.images(), test.y), fgsm(0.1)
    for use in (
        lambda model: evaluate(model, data, {"fgsm": attack}, progress=False),
        lambda model: sweep_eps(model, data, attack, (0.1,), progress=False),
        lambda model: transfer({"a": model}, {"a": model}, data, attack, progress=False),
    ):
        model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        caplog.clear()
        with caplog.at_level(logging.WARNING, "racl_tf"):
            use(model)
            use(model)
        (message,) = [record.getMessage() for record in caplog.records]
        assert "near chance" in message
        assert "such as --bounds=0,255" in message


@pytest.mark.parametrize(
    ("layer", "bounds"),
    [
        (keras.layers.Rescaling(1 / 255), (0, 255)),
        (keras.layers.Rescaling(1 / 127.5, offset=-1), (0, 255)),
        (keras.layers.Rescaling(1 / 256), (0, 255)),
        (keras.layers.Rescaling(2.0, offset=-1), (0, 1)),
        (keras.layers.Flatten(), (0, 1)),
    ],
)
def test_a_model_that_scales_bytes_is_shown_bytes(layer: keras.Layer, bounds: tuple[int, int]) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), layer, keras.layers.Flatten()])
    whole = keras.Sequential([keras.Input((8, 8, 1)), model, keras.layers.Dense(2)])
    for shown in (model, whole):
        assert own_bounds(shown) == bounds == Classifier(shown).bounds
    assert Classifier(model, bounds=(0, 1)).bounds == (0, 1)
