"""What every export asks of a classifier, and the graph that it is converted from."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.attacks.checks import check_single, check_takes_floats, probability_head
from racl_tf.errors import UsageError
from racl_tf.files import as_path


def image_shape(model: keras.Model, given: Sequence[int] | None) -> tuple[int, ...]:
    """Returns height, width and channels of a model's images as given, or else as the model defines them.

    Raises:
        UsageError: they are not known, or not fixed.
    """
    try:
        shape = tuple(model.input_shape[1:] if given is None else given)
    except (AttributeError, ValueError):
        raise UsageError(
            "The model defines no input shape. Pass `input_shape=(height, width, channels)`, or export a model "
            "with a fixed one."
        ) from None
    if len(shape) != 3 or not all(isinstance(size, int) for size in shape):
        raise UsageError(f"Exporting needs a fixed `input_shape` of (height, width, channels). Received: {shape}.")
    return shape


def count_classes(model: keras.Model, shape: tuple[int, ...]) -> int:
    """Returns the number of classes of a model that gives logits, judged by its outputs for noise.

    Raises:
        UsageError: it does not give logits, those of one class alone, or takes integers.
    """

    def outputs_of(images: np.ndarray) -> np.ndarray:
        return np.asarray(tf.cast(check_single(model(images, training=False)), tf.float32))

    check_takes_floats(model)
    outputs = outputs_of(np.random.default_rng(0).uniform(size=(8, *shape)).astype(np.float32))
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise UsageError(
            "Exporting needs a model with logits of shape (batch, classes), 2 classes at least. "
            f"It gives {outputs.shape}."
        )
    if head := probability_head(outputs_of, outputs, shape):
        raise UsageError(f"Exporting expects logits, but the model gives probabilities. Remove its last {head}.")
    return outputs.shape[1]


def logits_function(model: keras.Model, input_shape: Sequence[int] | None) -> Any:
    """Returns the graph function from `images` (batch, height, width, channels), float32, to a classifier's `logits`.

    Raises:
        UsageError: the input shape is not known, or the model does not give logits.
    """
    shape = image_shape(model, input_shape)
    count_classes(model, shape)

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": tf.cast(model(images, training=False), tf.float32)}

    return tf.function(serve, input_signature=[tf.TensorSpec((None, *shape), tf.float32, name="images")])


def new_file(path: str | os.PathLike[str], suffix: str) -> pathlib.Path:
    """Returns the path of a file that is not there yet.

    Raises:
        UsageError: it is there, or its name ends otherwise.
    """
    file = as_path(path)
    if file.suffix != suffix:
        raise UsageError(f"The file must end with {suffix}. Received: {os.fspath(path)!r}.")
    if file.exists():
        raise UsageError(f"Cannot export to {os.fspath(path)!r}: it exists. Remove it or choose another path.")
    return file


def largest_difference(model: keras.Model, images: np.ndarray | tf.Tensor, logits: np.ndarray) -> float:
    """Returns the largest absolute difference between given logits and those of a model for the same images."""
    expected = tf.cast(model(tf.cast(images, tf.float32), training=False), tf.float32)
    return float(tf.reduce_max(tf.abs(logits - expected)))
