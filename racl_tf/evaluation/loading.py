"""Trained classifiers from files."""

import os
import pathlib
from collections.abc import Callable

import tensorflow as tf

from racl_tf.attacks import Classifier
from racl_tf.errors import UsageError, reason_of
from racl_tf.files import as_path, as_tensorflow_path
from racl_tf.networks.loading import load_network
from racl_tf.networks.pretrained import from_pretrained, is_pretrained


def load_classifier(path: str | os.PathLike[str], *, bounds: tuple[float, float] | None = None) -> Classifier:
    """Returns the classifier in a `.keras` or `.h5` file, in a SavedModel's folder, or that `from_pretrained` loads.

    A SavedModel gives its outputs by the signature "logits" or "serving_default", which must take one input and
    give one output, or one called "logits". It is attacked like a Keras model: gradients flow through it.

    Arguments:
        path: of the file or folder, or `hf://user/name`. Nothing in it is run but its graph: Keras files with lambda
            layers are refused.
        bounds: the model's inputs for black and for white; by default as `Classifier` has them.

    Raises:
        UsageError: there is no such file, or it holds no model of this kind.
    """
    if is_pretrained(path):
        return Classifier(from_pretrained(path), bounds=bounds)
    path = as_path(path)
    if not path.exists():
        raise UsageError(f"There is no model {os.fspath(path)!r}. Give a .keras file or the folder of a SavedModel.")
    if path.is_dir():
        as_tensorflow_path(path)
        return Classifier(_signature(path), bounds=bounds)
    return Classifier(load_network(path), bounds=bounds)


def _signature(path: pathlib.Path) -> Callable[[tf.Tensor], tf.Tensor]:
    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        reason = reason_of(error, 500)
        raise UsageError(f"{os.fspath(path)!r} is not the folder of a SavedModel: {reason}") from None
    signatures = loaded.signatures
    name = next((name for name in ("logits", "serving_default") if name in signatures), None)
    if name is None:
        raise UsageError(
            f"The SavedModel {os.fspath(path)!r} has no signature 'logits' or 'serving_default'. "
            f"It has: {', '.join(signatures) or 'none'}."
        )
    inputs, outputs = signatures[name].structured_input_signature[1], signatures[name].structured_outputs
    output = "logits" if "logits" in outputs else next(iter(outputs))
    if len(inputs) != 1 or (len(outputs) != 1 and output != "logits"):
        raise UsageError(
            f"The signature {name!r} of {os.fspath(path)!r} must take one input and give one output or 'logits'. "
            f"It takes {', '.join(inputs)} and gives {', '.join(outputs)}."
        )
    ((argument, spec),) = inputs.items()
    if not spec.dtype.is_floating:
        raise UsageError(
            f"The signature {name!r} of {os.fspath(path)!r} takes {spec.dtype.name}, through which no gradient flows. "
            "Export the model with float32 inputs."
        )

    def serve(images: tf.Tensor) -> tf.Tensor:
        outputs = loaded.signatures[name](**{argument: images})  # `loaded` keeps the variables alive
        return tf.cast(outputs[output], tf.float32)

    def logits(images: tf.Tensor) -> tf.Tensor:
        images = tf.cast(images, spec.dtype)
        if spec.shape.rank == 3 and images.shape.rank == 4 and images.shape[-1] == 1:
            images = images[..., 0]  # of a model whose images have no axis of channels
        if spec.shape.rank is None:
            images = tf.reshape(images, tf.shape(images))  # through which the gradient has a shape again
        size = spec.shape[0] if spec.shape.rank else None
        return serve(images) if size is None else _in_pieces(serve, images, size)

    return logits


def _in_pieces(serve: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the outputs for images that are served so many at a time, the last piece filled up with zeros."""
    count, shape = tf.shape(images)[0], images.shape[1:]
    pieces = (count + size - 1) // size
    filled = tf.pad(images, [[0, pieces * size - count], *[[0, 0]] * len(shape)])
    outputs = tf.map_fn(serve, tf.reshape(filled, [pieces, size, *shape]), fn_output_signature=tf.float32)
    return tf.reshape(outputs, [pieces * size, outputs.shape[-1]])[:count]
