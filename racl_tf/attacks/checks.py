"""The checks of what a user hands to an attack, made eagerly and with messages that say what to do."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from racl_tf.errors import UsageError

_FAR, _FAR_IMAGES = 100.0, 8  # how far beyond black and white, and how many, are the images that tell heads apart
_ROUNDING = 0.03  # by which the sum of probabilities in half precision may miss 1


def check_images(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns images as float32 (N, ...) and labels as int32 (N,).

    Raises:
        UsageError: if images are not floating point, not in [0, 1] or not finite, or labels
            are not one non-negative integer per image.
    """
    x, y = np.asarray(x), np.asarray(y)
    if not np.issubdtype(x.dtype, np.floating) or x.ndim < 2 or not x.size:
        raise UsageError(
            f"Images to attack must be a floating point array of shape (N, ...) with N >= 1. "
            f"Received: {x.dtype} of shape {x.shape}. Scale bytes to [0, 1] first: x.astype('float32') / 255."
        )
    low, high = x.min(), x.max()
    if not (low >= 0 and high <= 1):
        raise UsageError(
            f"Images to attack must lie in [0, 1], without NaN. Received: values from {low} to {high}. "
            "Put any normalisation into the model, so that eps keeps its meaning in pixels."
        )
    if not np.issubdtype(y.dtype, np.integer) or y.shape != x.shape[:1]:
        raise UsageError(
            f"Labels must be integers, one per image: shape ({len(x)},). Received: {y.dtype} of shape {y.shape}. "
            "For one-hot rows take their argmax."
        )
    if y.min() < 0 or y.max() > np.iinfo(np.int32).max:
        wrong = y.min() if y.min() < 0 else y.max()
        raise UsageError(f"Labels must not be negative, nor beyond the integers of 32 bits. Received: {wrong}.")
    return x.astype(np.float32), y.astype(np.int32)


class OutputsError(UsageError):
    """A model gives something else than logits, whatever images it is shown."""


def check_single(outputs: Any) -> Any:
    """Returns the outputs of a model.

    Raises:
        OutputsError: there are several of them, by name or in a list.
    """
    if isinstance(outputs, dict | list | tuple):
        names = ", ".join(map(repr, outputs)) if isinstance(outputs, dict) else f"{len(outputs)} of them"
        raise OutputsError(
            f"A model must give its logits alone, not outputs in a {type(outputs).__name__}. Received: {names}. "
            "Take the logits out: keras.Model(model.inputs, model.output[...])."
        )
    return outputs


def check_outputs(rows: np.ndarray) -> None:
    """Checks the outputs of a model, the first row being that of an image of the data.

    Raises:
        UsageError: if they are not (N, classes), or the first row is not finite.
    """
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise UsageError(f"A model's logits must have shape (N, classes), 2 classes at least. Received: {rows.shape}.")
    if not np.isfinite(rows[0]).all():
        raise UsageError("The model's logits are not finite (NaN or infinite), so no attack on it means anything.")


def check_takes_floats(model: object) -> None:
    """Checks that a Keras model does not take integers, to which images in [0, 1] would be cut and gradients lost.

    Raises:
        UsageError: it does.
    """
    inputs = (getattr(model, "inputs", None) or []) if isinstance(model, keras.Model) else []
    for dtype in (tensor.dtype for tensor in keras.tree.flatten(inputs)):
        if not tf.as_dtype(dtype).is_floating:
            raise UsageError(
                f"The model takes {dtype}, to which images in [0, 1] are cut, and through which no gradient flows. "
                "Build it with an input of float32, and scale and round bytes before it."
            )


def computes_in_float16(model: object) -> bool:
    """Returns whether a Keras model has layers that compute in float16, where small gradients become 0."""
    layers = model._flatten_layers() if isinstance(model, keras.Layer) else []
    return any(layer.compute_dtype == "float16" for layer in layers)


def probability_head(outputs_of: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, shape: tuple[int, ...]) -> str:
    """Returns what makes probabilities of a model's logits: "softmax", class by class "sigmoid", or "" for logits.

    Probabilities stay in [0, 1] whatever the model is shown, even images far outside of [0, 1], which it is asked
    about if the outputs for usual ones do not tell. Logits that never change are logits.

    Arguments:
        outputs_of: the model, from images to outputs (N, classes).
        rows: its outputs for some images in [0, 1].
        shape: of an image.
    """
    if _are_shares(rows):
        far = _FAR * np.random.default_rng(0).normal(size=(_FAR_IMAGES, *shape)).astype(np.float32)
        try:
            beyond = outputs_of(far)
        except (ValueError, TypeError, tf.errors.OpError):  # of a model that takes nothing outside of [0, 1]
            beyond = rows
        rows = np.concatenate([rows, beyond[np.isfinite(beyond).all(axis=1)]])
    if not _are_shares(rows):
        return ""
    if np.allclose(rows.sum(axis=1), 1.0, rtol=0, atol=_ROUNDING):
        return "softmax"
    return "sigmoid" if np.ptp(rows, axis=0).any() else ""


def _are_shares(rows: np.ndarray) -> bool:
    return bool(rows.min() >= 0 and rows.max() <= 1)
