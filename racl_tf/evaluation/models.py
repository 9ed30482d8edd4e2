"""Trained classifiers from files."""

from __future__ import annotations

import importlib
import os
import pathlib
import zipfile
from collections.abc import Callable

import keras
import tensorflow as tf

from racl_tf.attacks import Classifier
from racl_tf.errors import UsageError

_REGISTERED = "racl_tf.networks"  # which makes every network known to Keras


def load_classifier(path: str | os.PathLike[str], *, bounds: tuple[float, float] = (0, 1)) -> Classifier:
    """Returns the classifier in a `.keras` or `.h5` file or in a SavedModel's folder.

    A SavedModel gives its outputs by the signature "logits" or "serving_default", which must take one input and
    give one output, or one called "logits". It is attacked like a Keras model: gradients flow through it.

    Arguments:
        path: of the file or folder. Nothing in it is run but its graph: Keras files with lambda layers are refused.
        bounds: the model's inputs for black and for white.

    Raises:
        UsageError: there is no such file, or it holds no model of this kind.
    """
    path = pathlib.Path(path).expanduser()
    if not path.exists():
        raise UsageError(f"There is no model {os.fspath(path)!r}. Give a .keras file or the folder of a SavedModel.")
    if path.is_dir():
        return Classifier(_signature(path), bounds=bounds)
    return Classifier(load_network(path), bounds=bounds)


def load_network(path: str | os.PathLike[str]) -> keras.Model:
    """Returns the Keras model in a `.keras` or `.h5` file, of one of this package's networks or any other.

    Raises:
        UsageError: there is none in it, or the file is damaged.
    """
    path = pathlib.Path(path).expanduser()
    if path.suffix not in (".keras", ".h5"):
        raise UsageError(
            f"{os.fspath(path)!r} is no model. Give a .keras file, an .h5 file or the folder of a SavedModel."
        )
    if path.suffix == ".keras" and path.is_file() and not zipfile.is_zipfile(path):
        raise UsageError(f"{os.fspath(path)!r} is damaged or no .keras file. Save the model again.")
    importlib.import_module(_REGISTERED)
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{os.fspath(path)!r} cannot be loaded as a Keras model: {error}") from None


def _signature(path: pathlib.Path) -> Callable[[tf.Tensor], tf.Tensor]:
    try:
        loaded = tf.saved_model.load(path)
    except OSError as error:
        raise UsageError(f"{os.fspath(path)!r} is not the folder of a SavedModel: {error}") from None
    signatures = loaded.signatures
    name = next((name for name in ("logits", "serving_default") if name in signatures), None)
    if name is None:
        raise UsageError(
            f"The SavedModel {os.fspath(path)!r} has no signature 'logits' or 'serving_default'. "
            f"It has: {', '.join(signatures) or 'none'}."
        )
    serve = signatures[name]
    inputs, outputs = serve.structured_input_signature[1], serve.structured_outputs
    output = "logits" if "logits" in outputs else next(iter(outputs))
    if len(inputs) != 1 or (len(outputs) != 1 and output != "logits"):
        raise UsageError(
            f"The signature {name!r} of {os.fspath(path)!r} must take one input and give one output or 'logits'. "
            f"It takes {', '.join(inputs)} and gives {', '.join(outputs)}."
        )
    (argument,) = inputs

    def logits(images: tf.Tensor) -> tf.Tensor:
        return loaded.signatures[name](**{argument: images})[output]  # `loaded` keeps the variables alive

    return logits
