"""The operations that a genotype's edge can hold, as layers, and the table that names them."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.seeding import derive

OperationMaker = Callable[[int, int, int, Any], keras.layers.Layer]


def uniform(fan_in: int, seed: int) -> keras.initializers.Initializer:
    """Returns the reference's initialiser of convolutions: uniform in +-1 / sqrt(fan_in)."""
    limit = fan_in**-0.5
    return keras.initializers.RandomUniform(-limit, limit, seed)


@keras.saving.register_keras_serializable("racl_tf")
class ReLUConvBN(keras.layers.Layer):
    """ReLU, a chain of convolutions without bias, batch normalisation.

    Arguments:
        filters: the number of output channels of every convolution.
        kernels: (height, width) of each convolution.
        strides: (vertical, horizontal) stride of each convolution.
        affine: whether the normalisation has a scale and offset.
        seed: of the initial kernels.
    """

    def __init__(
        self,
        filters: int,
        *,
        kernels: tuple[tuple[int, int], ...] = ((1, 1),),
        strides: tuple[tuple[int, int], ...] = ((1, 1),),
        affine: bool = True,
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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernels": self.kernel_sizes,
            "strides": self.strides,
            "affine": self.affine,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("racl_tf")
class SeparableConv(keras.layers.Layer):
    """Blocks of ReLU, depthwise convolution, 1x1 convolution and batch normalisation.

    A separable convolution of the search space is two such blocks, the stride in the
    first; a dilated convolution is one block with dilation 2.

    Arguments:
        channels: the number of input and output channels.
        kernel_size: of the depthwise convolutions, odd.
        stride: of the first block.
        dilation: of every block; with a stride it has to equal the stride.
        blocks: how many.
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
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.blocks = blocks
        self.seed = seed
        self.norms = [BatchNorm(dtype=self.dtype_policy) for _ in range(blocks)]

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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "dilation": self.dilation,
            "blocks": self.blocks,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("racl_tf")
class FactorizedReduction(keras.layers.Layer):
    """Halves the image: ReLU, two 1x1 convolutions on the even and on the odd pixels, normalisation.

    Arguments:
        filters: the number of output channels, half of them (rounded down) from the even pixels.
        affine: whether the normalisation has a scale and offset.
        seed: of the initial kernels.
    """

    def __init__(self, filters: int, *, affine: bool = True, seed: int = 0, **kwargs: Any) -> None:
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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "affine": self.affine, "seed": self.seed}


@keras.saving.register_keras_serializable("racl_tf")
class Pool(keras.layers.Layer):
    """A 3x3 max or average pool; the average does not count what lies outside the image."""

    def __init__(self, kind: str, *, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.stride = stride

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        pool = {"max": functional.max_pool, "average": functional.average_pool}[self.kind]
        return pool(inputs, self.stride)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, channels = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "stride": self.stride}


def _pool(kind: str) -> OperationMaker:
    return lambda channels, stride, seed, dtype: Pool(kind, stride=stride, dtype=dtype)


def _skip(channels: int, stride: int, seed: int, dtype: Any) -> keras.layers.Layer:
    if stride == 1:
        return keras.layers.Identity(dtype=dtype)
    return FactorizedReduction(channels, seed=seed, dtype=dtype)


def _convolution(kernel_size: int, *, blocks: int = 1, dilation: int = 1) -> OperationMaker:
    return lambda channels, stride, seed, dtype: SeparableConv(
        channels, kernel_size, stride=stride, dilation=dilation, blocks=blocks, seed=seed, dtype=dtype
    )


def _crossed(channels: int, stride: int, seed: int, dtype: Any) -> keras.layers.Layer:
    strides = ((1, stride), (stride, 1))
    return ReLUConvBN(channels, kernels=((1, 7), (7, 1)), strides=strides, seed=seed, dtype=dtype)


#: Makes the layer of an operation from its channels, stride, seed and dtype policy.
OPERATION_LAYERS: dict[str, OperationMaker] = {
    "max_pool_3x3": _pool("max"),
    "avg_pool_3x3": _pool("average"),
    "skip_connect": _skip,
    "sep_conv_3x3": _convolution(3, blocks=2),
    "sep_conv_5x5": _convolution(5, blocks=2),
    "sep_conv_7x7": _convolution(7, blocks=2),
    "dil_conv_3x3": _convolution(3, dilation=2),
    "dil_conv_5x5": _convolution(5, dilation=2),
    "conv_7x1_1x7": _crossed,
}
