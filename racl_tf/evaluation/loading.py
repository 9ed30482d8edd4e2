"""Trained classifiers from files."""

import os
import pathlib
from collections.abc import Callable

import tensorflow as tf

from racl_tf.attacks import Classifier
from racl_tf.errors import UsageError
from racl_tf.networks.loading import load_network


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
