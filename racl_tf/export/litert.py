"""A trained classifier as a LiteRT (TensorFlow Lite) file, which phones and small devices serve."""

import os
import pathlib
import tempfile
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from racl_tf.errors import UsageError, reason_of
from racl_tf.export.classifier import largest_difference, logits_function, new_file
from racl_tf.files import as_path, whole
from racl_tf.optional import require


def export_litert(
    model: keras.Model, path: str | os.PathLike[str], *, input_shape: Sequence[int] | None = None
) -> pathlib.Path:
    """Writes a classifier as a LiteRT file and returns its path.

    Its signature `serving_default` takes `images`, float32 in [0, 1] of shape (batch, height, width, channels), any
    number of them, and gives their `logits`. Only LiteRT's own operations are used, so that no other library is needed
    to serve it, and weights stay float32. The file appears complete or not at all.

    Arguments:
        model: a built classifier from images to logits of shape (batch, classes).
        path: the file to create, ending with .tflite.
        input_shape: height, width and channels; needed where the model does not define its input shape.

    Raises:
        UsageError: the path exists or ends otherwise, the model has operations that LiteRT does not have, as
            a large `L2Nonexpansive` does, the input shape is not known, or the model does not give logits.
    """
    file, serve = new_file(path, ".tflite"), logits_function(model, input_shape)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serve)
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        try:
            converted = converter.convert()
        except Exception as error:
            reason = reason_of(error)
            raise UsageError(f"LiteRT cannot take this model: {reason} Export it as ONNX or a SavedModel.") from None
    with whole(file) as temporary:
        temporary.write_bytes(converted)
    return file


def verify_litert(model: keras.Model, path: str | os.PathLike[str], images: np.ndarray | tf.Tensor) -> float:
    """Returns the largest absolute difference between the logits of a model and of its file in LiteRT's interpreter.

    Arguments:
        model: the classifier that was exported.
        path: the file that `export_litert` wrote.
        images: shape (batch, height, width, channels), in [0, 1].

    Raises:
        UsageError: ai-edge-litert is missing, or there is no LiteRT file at the path.
    """
    runtime = require("ai_edge_litert.interpreter", "ai-edge-litert", "Reading LiteRT again")
    batch = np.asarray(images, np.float32)
    try:
        interpreter = runtime.Interpreter(model_content=as_path(path).read_bytes())
        serve = interpreter.get_signature_runner("serving_default")
        logits = serve(images=batch)["logits"]
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        reason = reason_of(error)
        raise UsageError(
            f"Cannot load LiteRT from {os.fspath(path)!r}: {reason} Remove the file to have it exported again."
        ) from None
    return largest_difference(model, images, logits)
