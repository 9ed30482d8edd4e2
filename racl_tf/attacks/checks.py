"""The checks of what a user hands to an attack, made eagerly and with messages that say what to do."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from racl_tf.errors import UsageError


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
    if y.min() < 0:
        raise UsageError(f"Labels must not be negative. Received: {y.min()}.")
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


def are_probabilities(rows: np.ndarray) -> bool:
    """Returns whether a model's outputs (N, classes) are not negative and sum to 1: probabilities, not logits."""
    return bool(rows.min() >= 0 and np.allclose(rows.sum(axis=1), 1.0, atol=1e-3))
