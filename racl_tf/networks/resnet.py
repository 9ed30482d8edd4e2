"""ResNet-18 for small images: a hand-made network of the paper's Table 1."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import check_positive
from racl_tf.image_spec import ImageSpec
from racl_tf.layers import functional
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.networks.image_network import ImageNetwork, dense_head
from racl_tf.seeding import derive

# The filters of each block, as multiples of the stem's, and its stride.
BLOCKS = ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1))


@keras.saving.register_keras_serializable("racl_tf")
class ResNet18(ImageNetwork):
    """ResNet-18 (He et al., Deep Residual Learning for Image Recognition, CVPR 2016) as usual on CIFAR.

    A 3x3 convolution to 64 channels, two blocks each of 64, 128, 256 and 512 channels, of which the last three pairs
    begin at stride 2, global average pooling and the logits: 11,173,962 parameters for 10 classes. The stem for
    ImageNet, a 7x7 convolution and a pool, is left out. Strides round up, so that images of any size go through.
    Convolutions have no bias and start from He's normal distribution (He et al., 2015).

    Arguments:
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
        channels: the filters of the stem and the first blocks.
        kwargs: what `ImageNetwork` takes: the `seed` of the initial weights, or `input_shape`, `mean` and `std`.

    Raises:
        UsageError: an argument is out of its range.

    >>> network = ResNet18(10, channels=2, input_shape=(8, 8, 1))
    >>> network(tf.zeros([3, 8, 8, 1])).shape
    TensorShape([3, 10])
    """

    def __init__(
        self,
        spec: ImageSpec | int | None = None,
        *,
        channels: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, **kwargs)
        check_positive(channels=channels)
        self.channels = channels
        start = keras.initializers.HeNormal(derive(self.seed, "stem"))
        self.stem = keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=False, kernel_initializer=start, dtype=self.dtype_policy
        )
        self.norm = BatchNorm(dtype=self.dtype_policy)
        shape: tuple[Any, ...] = (None, *self.image_shape)
        self.stem.build(shape)
        shape = self.stem.compute_output_shape(shape)
        self.norm.build(shape)
        self.blocks = []
        for index, (multiple, stride) in enumerate(BLOCKS):
            block = BasicBlock(
                channels * multiple, stride=stride, seed=derive(self.seed, f"block_{index}"), dtype=self.dtype_policy
            )
            block.build(shape)
            shape = block.compute_output_shape(shape)
            self.blocks.append(block)
        self.head = dense_head(self.num_classes, shape[-1], seed=derive(self.seed, "head"), dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits (batch, num_classes) of images in [0, 1]."""
        state = tf.nn.relu(self.norm(self.stem(self.normalize(inputs)), training=training))
        for block in self.blocks:
            state = block(state, training=training)
        return self.classify(state)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("racl_tf")
class BasicBlock(keras.layers.Layer):
    """Two 3x3 convolutions and a shortcut around them: relu(BN(conv(relu(BN(conv(x))))) + shortcut(x)).

    The shortcut is x itself or, where the block changes size or channels, BN(conv(x)) with a 1x1 convolution.

    Arguments:
        filters: the number of output channels.
        stride: of the first convolution and the shortcut.
        seed: of the initial kernels.
    """

    def __init__(self, filters: int, *, stride: int = 1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride
        self.seed = seed

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        shapes = [(3, 3, channels, self.filters), (3, 3, self.filters, self.filters)]
        if self.stride > 1 or channels != self.filters:
            shapes.append((1, 1, channels, self.filters))
        self.kernels, self.norms = [], []
        for name, shape in zip(("first", "second", "shortcut"), shapes, strict=False):
            start = keras.initializers.HeNormal(derive(self.seed, name))
            self.kernels.append(self.add_weight(shape, start, name=name))
            norm = BatchNorm(dtype=self.dtype_policy)
            norm.build(self.compute_output_shape(input_shape))
            self.norms.append(norm)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        def convolve(images: tf.Tensor, index: int, stride: int) -> tf.Tensor:
            kernel = tf.convert_to_tensor(self.kernels[index])
            return self.norms[index](functional.convolution(images, kernel, (stride, stride)), training=training)

        branch = convolve(tf.nn.relu(convolve(inputs, 0, self.stride)), 1, 1)
        shortcut = convolve(inputs, 2, self.stride) if len(self.kernels) == 3 else inputs
        return tf.nn.relu(branch + shortcut)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, _ = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), self.filters

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "stride": self.stride, "seed": self.seed}
