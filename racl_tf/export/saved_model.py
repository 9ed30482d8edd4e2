"""A trained classifier as a SavedModel that plain TensorFlow serves, without Keras and without this library."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from racl_tf.errors import UsageError, reason_of
from racl_tf.export.classifier import count_classes, image_shape, largest_difference
from racl_tf.files import as_tensorflow_path, whole_folder

_Endpoint = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    input_shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
) -> Path:
    """Writes a classifier as a SavedModel and returns its path.

    The signature `serving_default` takes `images`, float32 in [0, 1], any number of them, and gives their `logits`,
    `probabilities` and `class` (the index of the largest logit) and, where class names are given, `class_name`.
    A signature under each of these names gives that one output alone. The folder appears complete or not at all.

    Arguments:
        model: a built classifier from images to logits of shape (batch, classes).
        path: the folder to create.
        input_shape: height, width and channels; needed where the model does not define its input shape.
        class_names: a name for each class.

    Raises:
        UsageError: the path exists, the input shape is not known, there are not as many class names as classes,
            or the model does not give logits, those of one class alone, or takes integers.

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_saved_model(model, f"{folder}/model", class_names=["cat", "dog"])
    ...     served = tf.saved_model.load(path)
    ...     sorted(served.signatures["serving_default"](images=tf.zeros((5, 8, 8, 3))))
    ['class', 'class_name', 'logits', 'probabilities']
    """
    path = as_tensorflow_path(path)
    if path.exists():
        raise UsageError(f"Cannot export to {os.fspath(path)!r}: it exists. Remove it or choose another path.")
    shape = image_shape(model, input_shape)
    classes = count_classes(model, shape)
    if class_names is not None and len(class_names) != classes:
        raise UsageError(f"Expected a name for each of the {classes} classes. Received {len(class_names)} names.")

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(model(images, training=False), tf.float32)
        best = tf.argmax(logits, axis=-1)
        outputs = {"logits": logits, "probabilities": tf.nn.softmax(logits), "class": best}
        return outputs | ({"class_name": tf.gather(list(class_names), best)} if class_names is not None else {})

    signature = [tf.TensorSpec((None, *shape), tf.float32, name="images")]
    archive = keras.export.ExportArchive()
    archive.track(model)
    served = archive.add_endpoint("serving_default", serve, signature)
    for name in served.get_concrete_function().structured_outputs:
        archive.add_endpoint(name, _single(served, name), signature)
    with whole_folder(path) as unfinished:
        archive.write_out(os.fspath(unfinished), verbose=False)
    return path


def verify_saved_model(model: keras.Model, path: str | os.PathLike[str], images: np.ndarray | tf.Tensor) -> float:
    """Returns the largest absolute difference between the logits of a model and of its SavedModel.

    Arguments:
        model: the classifier that was exported.
        path: the folder that `export_saved_model` wrote.
        images: shape (batch, height, width, channels), in [0, 1].

    Raises:
        UsageError: there is no SavedModel at the path.
    """
    folder = as_tensorflow_path(path)
    try:
        served = tf.saved_model.load(folder)
        logits = served.signatures["logits"](images=tf.cast(images, tf.float32))["logits"]
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        raise UsageError(
            f"Cannot load a SavedModel from {os.fspath(path)!r}: {reason_of(error)} "
            "Remove the folder to have it exported again."
        ) from None
    return largest_difference(model, images, logits)


def holds_weights(path: str | os.PathLike[str], model: keras.Model) -> bool:
    """Returns whether the SavedModel at a path has every weight of a model, to the last bit.

    Arguments:
        path: the folder that `export_saved_model` wrote.
        model: a classifier.
    """
    try:
        reader = tf.train.load_checkpoint(os.fspath(Path(path) / "variables" / "variables"))
    except (ValueError, tf.errors.OpError):
        return False
    kept = Counter(_bits(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map())
    needed = Counter(_bits(weight.numpy()) for weight in model.weights)
    return needed <= kept


def _bits(value: object) -> bytes:
    array = np.asarray(value)
    return f"{array.dtype} {array.shape}".encode() + array.tobytes()


def _single(serve: _Endpoint, name: str) -> _Endpoint:
    return lambda images: {name: serve(images)[name]}
