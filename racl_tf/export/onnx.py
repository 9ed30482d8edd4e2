"""A trained classifier as an ONNX file, which ONNX Runtime and many other programs serve."""

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from racl_tf.errors import UsageError, reason_of
from racl_tf.export.classifier import largest_difference, logits_function, new_file
from racl_tf.files import as_path, whole
from racl_tf.optional import require


def export_onnx(
    model: keras.Model, path: str | os.PathLike[str], *, input_shape: Sequence[int] | None = None
) -> pathlib.Path:
    """Writes a classifier as an ONNX file and returns its path; needs tf2onnx (the extra `onnx`).

    The file takes `images`, float32 in [0, 1] of shape (batch, height, width, channels), any number of them, and gives
    their `logits`. It appears complete or not at all.

    Arguments:
        model: a built classifier from images to logits of shape (batch, classes).
        path: the file to create, ending with .onnx.
        input_shape: height, width and channels; needed where the model does not define its input shape.

    Raises:
        UsageError: the path exists or ends otherwise, tf2onnx is missing or cannot convert the model, the input shape
            is not known, or the model does not give logits.
    """
    file, converter = new_file(path, ".onnx"), require("tf2onnx", "tf2onnx", "Exporting as ONNX")
    serve = logits_function(model, input_shape)
    try:
        converted, _ = converter.convert.from_function(serve, serve.input_signature)
    except Exception as error:  # of operations that it does not know, and others
        reason = reason_of(error)
        raise UsageError(f"tf2onnx cannot convert this model: {reason} Export it as a SavedModel.") from None
    with whole(file) as temporary:
        temporary.write_bytes(converted.SerializeToString())
    return file


def verify_onnx(model: keras.Model, path: str | os.PathLike[str], images: np.ndarray | tf.Tensor) -> float:
    """Returns the largest absolute difference between the logits of a model and of its ONNX file in ONNX Runtime.

    Arguments:
        model: the classifier that was exported.
        path: the file that `export_onnx` wrote.
        images: shape (batch, height, width, channels), in [0, 1].

    Raises:
        UsageError: onnxruntime is missing, or there is no ONNX file at the path.
    """
    runtime = require("onnxruntime", "onnxruntime", "Reading ONNX again")
    try:
        session = runtime.InferenceSession(as_path(path).read_bytes(), providers=["CPUExecutionProvider"])
        (logits,) = session.run(["logits"], {"images": np.asarray(images, np.float32)})
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        reason = reason_of(error)
        raise UsageError(
            f"Cannot load ONNX from {os.fspath(path)!r}: {reason} Remove the file to have it exported again."
        ) from None
    return largest_difference(model, images, logits)
