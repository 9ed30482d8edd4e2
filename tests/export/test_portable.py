"""A classifier as ONNX and as LiteRT gives in their own runtimes the logits that it gives here."""

import importlib.util
import pathlib
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.export import export_litert, export_onnx, verify_litert, verify_onnx
from racl_tf.image_spec import ImageSpec
from racl_tf.networks import make_network
from racl_tf.space import Cell, Genotype
from racl_tf.space.operations import OPERATIONS, PUBLISHED_OPERATIONS

NEEDS = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
FORMATS: dict[str, tuple[Callable, Callable, str]] = {
    "onnx": (export_onnx, verify_onnx, "model.onnx"),
    "litert": (export_litert, verify_litert, "model.tflite"),
}
FORMAT = pytest.mark.parametrize("name", FORMATS)
SHAPE = (9, 8, 3)


def skip_without(name: str) -> None:
    for package in NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(size=(count, *SHAPE)).astype(np.float32)


def every_operation() -> Genotype:
    """Returns a genotype of each operation at stride 2, on an input, and at stride 1, on the first node."""
    names = [name for name in (*OPERATIONS, *PUBLISHED_OPERATIONS) if name != "none"]
    nodes = [[("sep_conv_3x3", 1)], *([(name, 0), (name, 2)] for name in names)]
    cell = Cell(nodes, range(3, 3 + len(names)))
    return Genotype(cell, cell)


@FORMAT
@pytest.mark.parametrize("network", [every_operation(), "resnet18"], ids=["operations", "resnet18"])
def test_its_own_runtime_gives_the_same_logits(name: str, network: Genotype | str, tmp_path: pathlib.Path) -> None:
    skip_without(name)
    write, verify, file = FORMATS[name]
    size = {"channels": 2} if network == "resnet18" else {"channels": 4, "cells": 1}
    model = make_network(network, ImageSpec(5, input_shape=SHAPE, mean=0.4, std=0.25), **size)
    model(images(16), training=True)  # so that statistics are not the initial ones
    path = write(model, tmp_path / "new" / file)
    assert path == tmp_path / "new" / file
    for count in (1, 7):
        assert verify(model, path, images(count)) < 1e-5
    model.head.bias.assign_add([0.0, 0.0, 0.25, 0.0, 0.0])
    assert verify(model, path, images(7)) == pytest.approx(0.25, abs=1e-5)


@FORMAT
def test_what_exists_is_left_alone_and_what_is_damaged_is_said(name: str, tmp_path: pathlib.Path) -> None:
    skip_without(name)
    write, verify, file = FORMATS[name]
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    (tmp_path / file).write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"it exists\. Remove it or choose another path"):
        write(model, tmp_path / file)
    assert (tmp_path / file).read_bytes() == b"mine"
    with pytest.raises(UsageError, match=r"Cannot load \w+ from .* Remove the file to have it exported again"):
        verify(model, tmp_path / file, images(1))
    with pytest.raises(UsageError, match=r"must end with \.\w+\. Received: .*model\.bin'"):
        write(model, tmp_path / "model.bin")
    softmax = keras.Sequential([model, keras.layers.Softmax()])
    with pytest.raises(UsageError, match="expects logits, but the model gives probabilities"):
        write(softmax, tmp_path / f"other{pathlib.Path(file).suffix}")


@pytest.mark.parametrize(
    ("missing", "needed", "call"),
    [
        ("tf2onnx", "tf2onnx", lambda folder: export_onnx(keras.Model(), folder / "model.onnx")),
        ("onnxruntime", "onnxruntime", lambda folder: verify_onnx(keras.Model(), folder / "m.onnx", images(1))),
        (
            "ai_edge_litert.interpreter",
            "ai-edge-litert",
            lambda folder: verify_litert(keras.Model(), folder / "m.tflite", images(1)),
        ),
    ],
)
def test_a_missing_package_is_said_with_how_to_install_it(
    missing: str, needed: str, call: Callable, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=rf"needs {needed}: .* Run: pip install {needed}$"):
        call(tmp_path)


class ComplexTranspose(keras.layers.Layer):
    """An operation that LiteRT does not have."""

    def call(self, inputs):
        return tf.math.real(tf.transpose(tf.complex(inputs, inputs), [0, 2, 1, 3]))


def test_what_litert_does_not_have_is_said(tmp_path: pathlib.Path) -> None:
    model = keras.Sequential([keras.Input(SHAPE), ComplexTranspose(), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(UsageError, match=r"LiteRT cannot take this model: .* Export it as ONNX or a SavedModel"):
        export_litert(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())
