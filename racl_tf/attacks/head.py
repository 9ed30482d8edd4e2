"""A Keras model's last activation, which makes probabilities of logits, left out where the model shows it."""

from collections.abc import Callable
from typing import Any

import keras

_LAST = (keras.layers.Softmax, keras.layers.Activation, keras.layers.Dense)
_HEADS = (keras.activations.softmax, keras.activations.sigmoid)
_GRAPHS = (keras.Sequential, type(keras.Model(pixels := keras.Input((1,)), pixels)))


def without_head(model: object) -> tuple[Callable[..., Any], str] | None:
    """Returns what a Keras model computes before its last activation, and that one's name; None where there is none.

    It is seen in a sequential or functional model that ends with a softmax or a sigmoid, be it a layer or what a dense
    layer ends with. All layers and weights are the model's own, and the model itself is not changed.

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    >>> logits_of, head = without_head(model)
    >>> x = keras.ops.ones((1, 3))
    >>> head, bool(keras.ops.all(abs(keras.ops.softmax(logits_of(x)) - model(x)) < 1e-6))
    ('softmax', True)
    """
    if not isinstance(model, keras.Model) or model.__class__.call not in [graph.call for graph in _GRAPHS]:
        return None
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))  # none before it is built
    if len(inputs) != 1 or len(outputs) != 1:
        return None
    last: Any = next((layer for layer in model.layers if getattr(layer, "output", None) is outputs[0]), None)
    activation = keras.activations.softmax if _is_softmax(last) else getattr(last, "activation", None)
    if type(last) not in _LAST or activation not in _HEADS:
        return None
    features = keras.Model(inputs, last.input)
    if not isinstance(last, keras.layers.Dense):
        return (lambda x: features(x, training=False)), activation.__name__
    if last.quantization_mode is not None:
        return None

    def logits_of(x: Any) -> Any:
        x = keras.ops.cast(features(x, training=False), last.compute_dtype)
        logits = keras.ops.matmul(x, keras.ops.cast(last.kernel, x.dtype))
        return logits if last.bias is None else logits + keras.ops.cast(last.bias, x.dtype)

    return logits_of, activation.__name__


def _is_softmax(layer: Any) -> bool:
    return type(layer) is keras.layers.Softmax and layer.axis in (-1, 1)
