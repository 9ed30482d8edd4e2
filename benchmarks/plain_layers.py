"""A Keras model of plain layers in one row, as a list that another framework can follow, and its arrays."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np

from racl_tf.errors import UsageError


class Part(NamedTuple):
    """One operation: its kind, a name in `benchmarks.autoattack_side.LAYERS`, with its weights and settings."""

    kind: str
    weights: Mapping[str, np.ndarray] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})


def described(model: keras.Model) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Returns the operations of a model at inference, and the arrays that they refer to.

    Raises:
        UsageError: for a model that is not Sequential, or a layer or a setting that is not known here.
    """
    if not isinstance(model, keras.Sequential):
        raise UsageError(f"Only a keras.Sequential can be carried over to PyTorch. Received: {type(model).__name__}.")
    operations: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for number, part in enumerate(part for layer in model.layers for part in _parts(layer)):
        keys = {name: f"{number}/{name}" for name in part.weights}
        arrays |= {key: part.weights[name] for name, key in keys.items()}
        operations.append({"kind": part.kind, "arrays": keys, **part.options})
    return operations, arrays


def _parts(layer: keras.Layer) -> list[Part]:
    settings = layer.get_config()
    plain = {"data_format": "channels_last", "groups": 1, "dilation_rate": (1, 1), "negative_slope": 0, "threshold": 0}
    plain |= {"max_value": None, "axis": -1, "keepdims": False}
    odd = {name: settings[name] for name, value in plain.items() if settings.get(name, value) != value}
    if isinstance(layer, keras.layers.BatchNormalization) and settings["axis"] == len(layer.input.shape) - 1:
        odd.pop("axis", None)
    activation = {"linear": [], "relu": [Part("relu")]}.get(settings.get("activation", "linear"))
    if odd or activation is None:
        raise UsageError(f"The layer {layer.name!r} has a setting that is not carried over to PyTorch: {settings}.")
    match layer:
        case keras.layers.Conv2D():
            options = {"strides": layer.strides, "pads": _pads(layer, layer.kernel_size)}
            return [Part("convolution", _kernel_and_bias(layer), options), *activation]
        case keras.layers.Dense() if len(layer.input.shape) == 2:
            return [Part("dense", _kernel_and_bias(layer)), *activation]
        case keras.layers.BatchNormalization():
            return [Part("affine", _scale_and_shift(layer))]
        case keras.layers.MaxPooling2D():
            options = {"size": layer.pool_size, "strides": layer.strides, "pads": _pads(layer, layer.pool_size)}
            return [Part("maximum", {}, options)]
        case keras.layers.GlobalAveragePooling2D():
            return [Part("mean")]
        case keras.layers.Flatten():
            return [Part("flat")]
        case keras.layers.ReLU():
            return [Part("relu")]
        case keras.layers.Activation():
            return activation
        case keras.layers.Dropout():
            return []
    raise UsageError(
        f"The layer {layer.name!r} is a {type(layer).__name__}, which is not carried over to PyTorch. Known: Conv2D, "
        "BatchNormalization, ReLU, Activation, MaxPooling2D, GlobalAveragePooling2D, Flatten, Dropout and, of "
        "one-dimensional inputs, Dense."
    )


def _kernel_and_bias(layer: keras.Layer) -> dict[str, np.ndarray]:
    kernel = np.asarray(layer.kernel)
    return {
        "kernel": kernel,
        "bias": np.asarray(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1], np.float32),
    }


def _scale_and_shift(layer: keras.layers.BatchNormalization) -> dict[str, np.ndarray]:
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    scale = (np.asarray(layer.gamma) if layer.scale else 1) / np.sqrt(variance + np.float32(layer.epsilon))
    return {"scale": scale, "shift": (np.asarray(layer.beta) if layer.center else 0) - mean * scale}


def _pads(layer: keras.Layer, window: tuple[int, int]) -> tuple[int, ...]:
    """Returns the pixels added left, right, above and below, as TensorFlow adds them."""
    pads: list[int] = []
    for size, width, stride in zip(layer.input.shape[1:3], window, layer.strides, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + width - size, 0) if layer.padding == "same" else 0
        pads = [total // 2, total - total // 2, *pads]
    return tuple(pads)
