"""The identity, as an operation."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.layers.operation import Operation
from racl_tf.layers.spectral import Size


@keras.saving.register_keras_serializable("racl_tf")
class Identity(Operation):
    """Returns its inputs: the skip at stride 1."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return inputs

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def lipschitz_norm(self, norm_kind: str = "matrix") -> float:
        return 1.0

    def lipschitz_bound(self, size: Size) -> float:
        return 1.0
