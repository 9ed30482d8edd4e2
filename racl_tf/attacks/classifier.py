"""Any trained classifier as a function from images in [0, 1] to logits, and its compiled graphs."""

import functools
import logging
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.attacks.checks import (
    OutputsError,
    check_outputs,
    check_single,
    check_takes_floats,
    computes_in_float16,
    probability_head,
)
from racl_tf.attacks.digest import digest
from racl_tf.attacks.head import without_head
from racl_tf.errors import UsageError, shortened
from racl_tf.memory import short_stacks

_LOGGER = logging.getLogger(__name__)
_ALIKE = 0.05  # relative difference of logits that rounding may make in batches of other sizes
_TINY = np.finfo(np.float32).tiny


class Classifier:
    """A model as attacks and evaluations see it: images in [0, 1] in, float32 logits out, always in inference mode.

    Images, eps and step sizes are in units of [0, 1] whatever the model takes. A last softmax, or sigmoid for each
    class, that a sequential or functional Keras model shows is left out, without changing the model. Where the model
    gives probabilities in another way, which the first images tell, their logarithms serve as logits, log p of a
    softmax and log p / (1 - p) of a sigmoid, with a warning: what has been rounded to 0 or 1 has lost its gradient.

    Arguments:
        model: a Keras model or layer, called with `training=False`, or any TensorFlow function, from images to
            outputs (N, classes).
        bounds: the model's inputs for black and for white, such as (-1, 1); by default (0, 255) of a Keras model that
            begins with a Rescaling of bytes, else (0, 1).

    Raises:
        UsageError: for a model that cannot be called or takes integers, or bounds that are not two rising numbers.
    """

    def __init__(
        self, model: keras.Layer | Callable[[tf.Tensor], tf.Tensor], *, bounds: tuple[float, float] | None = None
    ) -> None:
        if not callable(model):
            raise UsageError(f"A classifier is a Keras model or a function. Received: {type(model).__name__}.")
        bounds = own_bounds(model) if bounds is None else bounds
        if not (len(bounds) == 2 and -np.inf < bounds[0] < bounds[1] < np.inf):
            raise UsageError(f"`bounds` must be two rising numbers, such as (0, 255). Received: {bounds!r}.")
        check_takes_floats(model)
        self._outputs = functools.partial(model, training=False) if isinstance(model, keras.Layer) else model
        if headless := without_head(model):
            self._outputs, head = headless
            _LOGGER.info("The model's last %s is left out: attacks see the logits before it.", head)
        self._in_float16 = computes_in_float16(model)
        self.bounds = bounds
        self.probabilities = ""  # or "softmax" or "sigmoid", the head that makes probabilities of logits
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
        if not self.probabilities:
            return outputs
        logs = tf.math.log(tf.maximum(outputs, _TINY))
        return logs if self.probabilities == "softmax" else logs - tf.math.log(tf.maximum(1 - outputs, _TINY))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Returns the logits (N, K) of images (N, ...) in [0, 1], compiled."""
        return self.call(_logits, None, {"x": x}).numpy()

    def check(self, x: np.ndarray, y: np.ndarray) -> int:
        """Checks that the model gives finite outputs and a class for every label, and returns the number of classes.

        The model is asked once for each shape of images: about the first image, a black and a white one, since
        one image's logits alone may happen to look like probabilities, and about the first alone, whose logits must
        not depend on the others.

        Raises:
            UsageError: if it does not.
        """
        shape = x.shape[1:]
        if shape not in self._classes:
            images = np.concatenate([x[:1], 0 * x[:1], 0 * x[:1] + 1])
            try:
                rows = self.logits(images)
            except OutputsError:
                raise
            except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
                raise UsageError(f"The model does not take images of shape {shape}. {_reason(error)}") from None
            check_outputs(rows)
            if not self.probabilities and (head := probability_head(self.logits, rows, shape)):
                warnings.warn(
                    f"The model returns probabilities, as a {head} gives them. Attacks use their logarithms, which "
                    f"are weaker where the {head} saturates. Leave out the model's last {head}.",
                    stacklevel=3,
                )
                self.probabilities = head
                self._graphs.clear()
            if self._in_float16:
                warnings.warn(
                    "The model computes in float16, where small gradients become 0 and attacks weaker than they are. "
                    "Build it under the policy 'float32' or 'mixed_bfloat16' and give it the same weights.",
                    stacklevel=3,
                )
            self._check_alone(x[:1], self.logits(images)[0])
            self._classes[shape] = rows.shape[1]
        classes = self._classes[shape]
        if y.max() >= classes:
            raise UsageError(
                f"Labels must be below the number of classes, {classes}. Received: a label {y.max()}. "
                "Is this the model of another dataset?"
            )
        return classes

    def _check_alone(self, image: np.ndarray, beside_others: np.ndarray) -> None:
        """Warns if an image alone has other logits than beside others, but the same again when alone again."""
        alone, again = self.logits(image)[0], self.logits(image)[0]
        limit = _ALIKE * np.abs(alone).max()
        if np.abs(alone - again).max() <= limit < np.abs(alone - beside_others).max():
            warnings.warn(
                "The model's outputs for an image depend on the other images of its batch, as those of a model that "
                "normalizes in training mode do, so that no figure of it holds. Run the model in inference mode.",
                stacklevel=4,
            )

    def call(self, function: Callable[..., Any], static: Any, arrays: Any, **others: Any) -> Any:
        """Returns `function(static, logits_of, arrays, **others)` as a graph that is traced once for all batch sizes.

        Arguments:
            function: graph code, the same object at every call.
            static: a hashable value that selects a trace.
            arrays: a structure of tensors whose first axis is the batch.
            others: tensors of fixed shape, by name.
        """
        arrays, others = tf.nest.map_structure(tf.convert_to_tensor, (arrays, others))
        return self._graph(function, static, arrays, others)(arrays, others)

    def digest(self, x: np.ndarray) -> str:
        """Returns what identifies the model on images like (N, ...): a digest of its graph and its weights.

        It is the same for a model read again from its file, and another one when a weight has changed. A Keras model
        and its SavedModel differ in it.
        """
        return digest(self._graph(_logits, None, {"x": tf.convert_to_tensor(x)}, {}))

    def _graph(self, function: Callable[..., Any], static: Any, arrays: Any, others: dict[str, tf.Tensor]) -> Any:
        key = (function, static, *((value.dtype, *value.shape[1:]) for value in tf.nest.flatten(arrays)))
        if key not in self._graphs:

            @short_stacks()
            def graph(arrays: Any, others: dict[str, tf.Tensor]) -> Any:
                return function(static, self.logits_of, arrays, **others)

            specs = (
                tf.nest.map_structure(lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), arrays),
                tf.nest.map_structure(tf.TensorSpec.from_tensor, others),
            )
            self._graphs[key] = tf.function(graph, autograph=False).get_concrete_function(*specs)
        return self._graphs[key]


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
