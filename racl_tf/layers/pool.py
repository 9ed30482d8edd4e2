"""Pools."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.operation import Operation
from racl_tf.layers.spectral import Size, average_pool_norm, max_pool_bound


@dataclass(frozen=True)
class PoolKind:
    """How a pool is computed, and its Lipschitz constant.

    Arguments:
        apply: what it makes of images and a stride.
        norm: lambda_o of strides, any shape (Section 2.2).
        bound: of the Lipschitz constant for an image's size and a stride.
    """

    apply: Callable[[tf.Tensor, int], tf.Tensor]
    norm: Callable[[npt.ArrayLike], np.ndarray]
    bound: Callable[[Size, int], float]


POOLS: Mapping[str, PoolKind] = MappingProxyType(
    {
        "max": PoolKind(functional.max_pool, lambda strides: np.ones(np.shape(strides)), max_pool_bound),
        "average": PoolKind(functional.average_pool, lambda strides: np.power(strides, -0.5), average_pool_norm),
    }
)
"""The pools by kind. The max pool's lambda_o of 1 is the paper's, no bound: windows overlap."""


@keras.saving.register_keras_serializable("racl_tf")
class Pool(Operation):
    """A 3x3 max or average pool; the average does not count what lies outside the image.

    Arguments:
        kind: a name in `POOLS`, "max" or "average".
        stride: 1 or 2.
    """

    def __init__(self, kind: str, *, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.stride = stride

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return POOLS[self.kind].apply(inputs, self.stride)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, channels = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), channels

    def lipschitz_norm(self, norm_kind: str = "matrix") -> float:
        return float(POOLS[self.kind].norm(self.stride))

    def lipschitz_bound(self, size: Size) -> float:
        return POOLS[self.kind].bound(size, self.stride)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "stride": self.stride}
