"""Any trained classifier as a function from images in [0, 1] to logits, and its compiled graphs."""

import functools
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.attacks.checks import OutputsError, are_probabilities, check_outputs, check_single
from racl_tf.errors import UsageError, shortened

_TINY = np.finfo(np.float32).tiny


class Classifier:
    """A model as attacks and evaluations see it: images in [0, 1] in, float32 logits out, always in inference mode.

    Images, eps and step sizes are in units of [0, 1] whatever the model takes. Where the model gives probabilities,
    which the first images tell, their logarithms serve as logits, with a warning: what a softmax has rounded
    to 0 or 1 has lost its gradient.

    Arguments:
        model: a Keras model or layer, called with `training=False`, or any TensorFlow function, from images to
            outputs (N, classes).
        bounds: the model's inputs for black and for white, such as (-1, 1); by default (0, 255) of a Keras model that
            begins with a Rescaling of bytes, else (0, 1).

    Raises:
        UsageError: for a model that cannot be called, or bounds that are not two rising numbers.
    """

    def __init__(
        self, model: keras.Layer | Callable[[tf.Tensor], tf.Tensor], *, bounds: tuple[float, float] | None = None
    ) -> None:
        if not callable(model):
            raise UsageError(f"A classifier is a Keras model or a function. Received: {type(model).__name__}.")
        bounds = own_bounds(model) if bounds is None else bounds
        if not (len(bounds) == 2 and -np.inf < bounds[0] < bounds[1] < np.inf):
            raise UsageError(f"`bounds` must be two rising numbers, such as (0, 255). Received: {bounds!r}.")
        self._outputs = functools.partial(model, training=False) if isinstance(model, keras.Layer) else model
        self.bounds = bounds
        self.probabilities = False
        shape = getattr(model, "input_shape", None)
        self._rank = len(shape) if isinstance(shape, tuple) else None
        self._classes: dict[tuple[int, ...], int] = {}
        self._graphs: dict[Any, Callable[..., Any]] = {}
        self.said: set[str] = set()  # what the user was told of this model, once

    def logits_of(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the logits (B, K), float32, of images (B, ...) in [0, 1]; graph code."""
        low, high = self.bounds
        inputs = x if (low, high) == (0, 1) else low + (high - low) * x
        if self._rank == 3 and x.shape.rank == 4 and x.shape[-1] == 1:
            inputs = inputs[..., 0]  # of a model whose images have no axis of channels
        outputs = tf.cast(check_single(self._outputs(inputs)), tf.float32)
        return tf.math.log(tf.maximum(outputs, _TINY)) if self.probabilities else outputs

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Returns the logits (N, K) of images (N, ...) in [0, 1], compiled."""
        return self.call(_logits, None, {"x": x}).numpy()

    def check(self, x: np.ndarray, y: np.ndarray) -> int:
        """Checks that the model gives finite outputs and a class for every label, and returns the number of classes.

        The model is asked once for each shape of images: about the first image, a black and a white one, since
        one image's logits alone may happen to look like probabilities.

        Raises:
            UsageError: if it does not.
        """
        shape = x.shape[1:]
        if shape not in self._classes:
            try:
                rows = self.logits(np.concatenate([x[:1], 0 * x[:1], 0 * x[:1] + 1]))
            except OutputsError:
                raise
            except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
                raise UsageError(f"The model does not take images of shape {shape}. {_reason(error)}") from None
            check_outputs(rows)
            if are_probabilities(rows) and not self.probabilities:
                warnings.warn(
                    "The model returns probabilities (its rows lie in [0, 1] and sum to 1). Attacks use their "
                    "logarithms, which are weaker where the softmax saturates. Leave out the model's last softmax.",
                    stacklevel=3,
                )
                self.probabilities = True
                self._graphs.clear()
            self._classes[shape] = rows.shape[1]
        classes = self._classes[shape]
        if y.max() >= classes:
            raise UsageError(
                f"Labels must be below the number of classes, {classes}. Received: a label {y.max()}. "
                "Is this the model of another dataset?"
            )
        return classes

    def call(self, function: Callable[..., Any], static: Any, arrays: Any, **others: Any) -> Any:
        """Returns `function(static, logits_of, arrays, **others)` as a graph that is traced once for all batch sizes.

        Arguments:
            function: graph code, the same object at every call.
            static: a hashable value that selects a trace.
            arrays: a structure of tensors whose first axis is the batch.
            others: tensors of fixed shape, by name.
        """
        arrays, others = tf.nest.map_structure(tf.convert_to_tensor, (arrays, others))
        key = (function, static, *((value.dtype, *value.shape[1:]) for value in tf.nest.flatten(arrays)))
        if key not in self._graphs:

            def graph(arrays: Any, others: dict[str, tf.Tensor]) -> Any:
                return function(static, self.logits_of, arrays, **others)

            specs = (
                tf.nest.map_structure(lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), arrays),
                tf.nest.map_structure(tf.TensorSpec.from_tensor, others),
            )
            self._graphs[key] = tf.function(graph, autograph=False).get_concrete_function(*specs)
        return self._graphs[key](arrays, others)


def own_bounds(model: object) -> tuple[float, float]:
    """Returns the bounds that a model shows by itself: (0, 255) if its first layer scales bytes, else (0, 1).

    >>> own_bounds(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 127.5, offset=-1)]))
    (0, 255)
    """
    while isinstance(model, keras.Model):
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        model = layers[0] if layers else None
    if isinstance(model, keras.layers.Rescaling):
        scale, offset = np.asarray(model.scale), np.asarray(model.offset)
        if np.allclose(255 * scale + offset, 1, atol=0.02) and np.all(np.isin(offset, (0, -1))):
            return 0, 255
    return 0, 1


_classifiers: weakref.WeakKeyDictionary[keras.Layer, Classifier] = weakref.WeakKeyDictionary()


def as_classifier(model: keras.Layer | Classifier) -> Classifier:
    """Returns the classifier of a Keras model, the same one for as long as the model lives, or a classifier itself.

    Raises:
        UsageError: if `model` is neither.
    """
    if isinstance(model, Classifier):
        return model
    if not isinstance(model, keras.Layer):
        raise UsageError(
            f"Only a model of Keras 3 or a Classifier can be attacked. Received: {_kind(model)}. "
            "Wrap a function from images to logits: Classifier(function). "
            "Inside a TensorFlow graph of your own, use Attack.perturb."
        )
    if model not in _classifiers:
        _classifiers[model] = Classifier(weakref.proxy(model))  # which keeps no model alive
    return _classifiers[model]


def _kind(model: object) -> str:
    """Returns the name of a model's type, with where it is from if that is another Keras."""
    home = type(model).__module__.partition(".")[0]
    return f"{type(model).__name__} of {home}" if home.endswith("keras") else type(model).__name__


def _reason(error: Exception) -> str:
    """Returns what a model says of images that it does not take, in a paragraph."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    text = re.split(r"Arguments received|Received args|\[\[\{\{|\[Op:", text)[0]
    text = re.sub(r"^.*?(?:defined at|most recent call last|stack traces unavailable).*\n", "", text, flags=re.S)
    return shortened(" ".join(text.split()), 400)


def _logits(_: None, logits_of: Callable[[tf.Tensor], tf.Tensor], arrays: dict[str, tf.Tensor]) -> tf.Tensor:
    return logits_of(arrays["x"])
