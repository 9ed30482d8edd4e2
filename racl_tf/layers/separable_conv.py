"""Separable and dilated convolutions."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.batch_norm import Affine, BatchNorm
from racl_tf.layers.initializers import uniform
from racl_tf.layers.operation import Operation
from racl_tf.layers.spectral import Size, depthwise_bounds, depthwise_norm, kernel_norm, matrix_norm, strided
from racl_tf.seeding import derive


@keras.saving.register_keras_serializable("racl_tf")
class SeparableConv(Operation):
    """Blocks of ReLU, depthwise convolution, 1x1 convolution and batch normalisation.

    A separable convolution of the search space is two such blocks, the stride in the
    first; a dilated convolution is one block with dilation 2.

    Arguments:
        channels: the number of input and output channels.
        kernel_size: of the depthwise convolutions, odd.
        stride: of the first block.
        dilation: of every block; with a stride it has to equal the stride.
        blocks: how many.
        affine: whether each normalisation has a scale and offset (see `BatchNorm`).
        seed: of the initial kernels.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        blocks: int = 1,
        affine: Affine = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.blocks = blocks
        self.affine = affine
        self.seed = seed
        self.norms = [BatchNorm(affine, dtype=self.dtype_policy) for _ in range(blocks)]

    def build(self, input_shape: tuple[Any, ...]) -> None:
        size, channels = self.kernel_size, self.channels
        self.depthwise, self.pointwise = [], []
        for i in range(self.blocks):
            start = uniform(size * size, derive(self.seed, f"depthwise_{i}"))
            self.depthwise.append(self.add_weight((size, size, channels, 1), start, name=f"depthwise_{i}"))
            start = uniform(channels, derive(self.seed, f"pointwise_{i}"))
            self.pointwise.append(self.add_weight((1, 1, channels, channels), start, name=f"pointwise_{i}"))
            self.norms[i].build((*input_shape[:-1], channels))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns (batch, height / stride, width / stride, channels)."""
        outputs = inputs
        for i, norm in enumerate(self.norms):
            depthwise, pointwise = (tf.convert_to_tensor(kernels[i]) for kernels in (self.depthwise, self.pointwise))
            outputs = tf.nn.relu(outputs)
            outputs = functional.depthwise(outputs, depthwise, 1 if i else self.stride, dilation=self.dilation)
            outputs = norm(functional.convolution(outputs, pointwise), training=training)
        return outputs

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, _ = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), self.channels

    def lipschitz_norm(self, norm_kind: str = "matrix") -> float:
        return math.prod(depthwise_norm(kernel.numpy(), norm_kind) for kernel in self.depthwise) * math.prod(
            kernel_norm(kernel.numpy()) for kernel in self.pointwise
        )

    def lipschitz_bound(self, size: Size) -> float:
        bound, stride = 1.0, self.stride
        for depthwise, pointwise, norm in zip(self.depthwise, self.pointwise, self.norms, strict=True):
            windows, matrix = (np.asarray(kernel, np.float64) for kernel in (depthwise, pointwise))
            norms = depthwise_bounds(windows[..., 0], size, stride=stride, dilation=self.dilation)
            bound *= float(matrix_norm(norms[:, None] * matrix[0, 0] * norm.factors()))
            size, stride = strided(size, (stride, stride)), 1
        return bound

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "dilation": self.dilation,
            "blocks": self.blocks,
            "affine": self.affine,
            "seed": self.seed,
        }
