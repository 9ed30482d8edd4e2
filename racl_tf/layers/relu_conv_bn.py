"""Dense convolutions in a row."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.batch_norm import Affine, BatchNorm
from racl_tf.layers.initializers import uniform
from racl_tf.layers.operation import Operation
from racl_tf.layers.spectral import Size, convolution_bound, kernel_norm, strided
from racl_tf.seeding import derive


@keras.saving.register_keras_serializable("racl_tf")
class ReLUConvBN(Operation):
    """ReLU, a chain of convolutions without bias, batch normalisation.

    Arguments:
        filters: the number of output channels of every convolution.
        kernels: (height, width) of each convolution.
        strides: (vertical, horizontal) stride of each convolution.
        affine: whether the normalisation has a scale and offset (see `BatchNorm`).
        seed: of the initial kernels.
    """

    def __init__(
        self,
        filters: int,
        *,
        kernels: tuple[tuple[int, int], ...] = ((1, 1),),
        strides: tuple[tuple[int, int], ...] = ((1, 1),),
        affine: Affine = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_sizes = tuple((height, width) for height, width in kernels)
        self.strides = tuple((vertical, horizontal) for vertical, horizontal in strides)
        self.affine = affine
        self.seed = seed
        self.norm = BatchNorm(affine, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        self.kernels = []
        for i, size in enumerate(self.kernel_sizes):
            shape = (*size, channels, self.filters)
            start = uniform(size[0] * size[1] * channels, derive(self.seed, f"kernel_{i}"))
            self.kernels.append(self.add_weight(shape, start, name=f"kernel_{i}"))
            channels = self.filters
        self.norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = tf.nn.relu(inputs)
        for kernel, strides in zip(self.kernels, self.strides, strict=True):
            outputs = functional.convolution(outputs, tf.convert_to_tensor(kernel), strides)
        return self.norm(outputs, training=training)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, _ = input_shape
        for vertical, horizontal in self.strides:
            height, width = -(-height // vertical), -(-width // horizontal)
        return batch, height, width, self.filters

    def lipschitz_norm(self, norm_kind: str = "matrix") -> float:
        return math.prod(kernel_norm(kernel.numpy()) for kernel in self.kernels)

    def lipschitz_bound(self, size: Size) -> float:
        *kernels, last = (np.asarray(kernel, np.float64) for kernel in self.kernels)
        bound = 1.0
        for kernel, strides in zip([*kernels, last * self.norm.factors()], self.strides, strict=True):
            bound *= convolution_bound(kernel, size, strides=strides)
            size = strided(size, strides)
        return bound

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernels": self.kernel_sizes,
            "strides": self.strides,
            "affine": self.affine,
            "seed": self.seed,
        }
