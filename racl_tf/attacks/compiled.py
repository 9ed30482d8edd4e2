"""The compiled functions of a model under attack, held for as long as the model lives."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from racl_tf.attacks.ascent import ascend, image_seeds
from racl_tf.errors import UsageError


class Compiled(NamedTuple):
    """The two graphs of a model in inference mode: its logits, and `ascend` on them."""

    logits: Callable[..., tf.Tensor]
    ascend: Callable[..., tf.Tensor]


_compiled: weakref.WeakKeyDictionary[keras.Layer, Compiled] = weakref.WeakKeyDictionary()


def compiled(model: keras.Layer) -> Compiled:
    """Returns the functions of `model`, the same ones at every call, so that equal shapes never retrace.

    What is no tensor (norm, loss, decay, ...) selects a trace; eps, step size and steps are
    passed as tensors and share one. They refer to the model weakly: the cache keeps none alive.

    Raises:
        UsageError: if `model` is no Keras model.
    """
    if not isinstance(model, keras.Layer):
        raise UsageError(
            f"Only a Keras model can be attacked. Received: {type(model).__name__}. "
            "Inside a TensorFlow graph of your own, use Attack.perturb with any function from images to logits."
        )
    if model not in _compiled:
        proxy = weakref.proxy(model)

        def logits(x: tf.Tensor) -> tf.Tensor:
            return proxy(x, training=False)

        def run(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor, index: tf.Tensor, **form: Any) -> tf.Tensor:
            return ascend(logits, x, y, image_seeds(seed, index), **form)

        _compiled[model] = Compiled(tf.function(logits, autograph=False), tf.function(run, autograph=False))
    return _compiled[model]
