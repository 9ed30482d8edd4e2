"""The skip at stride 2."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.batch_norm import Affine, BatchNorm
from racl_tf.layers.initializers import uniform
from racl_tf.layers.operation import Operation
from racl_tf.layers.spectral import Size, kernel_norm, matrix_norm
from racl_tf.seeding import derive


@keras.saving.register_keras_serializable("racl_tf")
class FactorizedReduction(Operation):
    """Halves the image: ReLU, two 1x1 convolutions on the even and on the odd pixels, normalisation.

    Arguments:
        filters: the number of output channels, half of them (rounded down) from the even pixels.
        affine: whether the normalisation has a scale and offset (see `BatchNorm`).
        seed: of the initial kernels.
    """

    def __init__(self, filters: int, *, affine: Affine = True, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.affine = affine
        self.seed = seed
        self.norm = BatchNorm(affine, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels, half = input_shape[-1], self.filters // 2
        self.kernels = [
            self.add_weight((1, 1, channels, filters), uniform(channels, derive(self.seed, name)), name=name)
            for name, filters in (("even", half), ("odd", self.filters - half))
        ]
        self.norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        images = tf.nn.relu(inputs)
        even, odd = (tf.convert_to_tensor(kernel) for kernel in self.kernels)
        outputs = [
            functional.convolution(functional.subsample(images, 2), even),
            functional.convolution(functional.odd_pixels(images), odd),
        ]
        return self.norm(tf.concat(outputs, -1), training=training)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, _ = input_shape
        return batch, -(-height // 2), -(-width // 2), self.filters

    def lipschitz_norm(self, norm_kind: str = "matrix") -> float:
        return max(kernel_norm(kernel.numpy()) for kernel in self.kernels)  # the halves read different pixels

    def lipschitz_bound(self, size: Size) -> float:
        factors = np.split(self.norm.factors(), [self.filters // 2])
        matrices = (np.asarray(kernel, np.float64)[0, 0] for kernel in self.kernels)
        return float(max(matrix_norm(matrix * half) for matrix, half in zip(matrices, factors, strict=True)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "affine": self.affine, "seed": self.seed}
