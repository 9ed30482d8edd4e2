"""DenseNet-121 for small images: a hand-made network of the paper's Table 1."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import check_positive
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.networks.image_network import ImageNetwork, dense_head
from racl_tf.seeding import derive

# The number of layers in each dense block.
BLOCKS = (6, 12, 24, 16)


@keras.saving.register_keras_serializable("racl_tf")
class DenseNet121(ImageNetwork):
    """DenseNet-121 (Huang et al., Densely Connected Convolutional Networks, CVPR 2017) as usual on CIFAR.

    A 3x3 convolution to 64 channels, then four blocks of 6, 12, 24 and 16 layers. A layer makes 32 new channels out of
    all that the block has so far, by a 1x1 convolution to 128 channels and a 3x3 one, and puts them in front. Between
    blocks a 1x1 convolution halves the channels and a 2x2 average pool the image. Normalisation and ReLU come before
    each convolution but the first, and before the global average pooling and the logits: 6,956,298 parameters for 10
    classes. The stem for ImageNet, a 7x7 convolution and a pool, is left out. Pools round up, over the pixels that are
    there, so that images of any size go through. Convolutions have no bias and start from He's normal distribution (He
    et al., 2015).

    Arguments:
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
        growth: the channels that each layer adds; half as many as the stem has.
        kwargs: what `ImageNetwork` takes: the `seed` of the initial weights, or `input_shape`, `mean` and `std`.

    Raises:
        UsageError: an argument is out of its range.

    >>> network = DenseNet121(10, growth=2, input_shape=(8, 8, 1))
    >>> network(tf.zeros([3, 8, 8, 1])).shape
    TensorShape([3, 10])
    """

    def __init__(
        self,
        spec: ImageSpec | int | None = None,
        *,
        growth: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, **kwargs)
        check_positive(growth=growth)
        self.growth = growth
        width = 2 * growth
        self.stem = self._make_convolution(self.image_shape[-1], width, kernel_size=3, stream="stem")
        self.norms: list[BatchNorm] = []
        self.convolutions: list[keras.layers.Conv2D] = []
        for block, depth in enumerate(BLOCKS):
            if block:
                self._append(width, width // 2)
                width //= 2
            for _ in range(depth):
                self._append(width, 4 * growth)
                self._append(4 * growth, growth, kernel_size=3)
                width += growth
        self.norm = self._make_norm(width)
        self.head = dense_head(self.num_classes, width, seed=derive(self.seed, "head"), dtype=self.dtype_policy)
        self.built = True

    def _append(self, channels: int, filters: int, kernel_size: int = 1) -> None:
        stream = f"convolution_{len(self.convolutions)}"
        self.norms.append(self._make_norm(channels))
        self.convolutions.append(self._make_convolution(channels, filters, kernel_size=kernel_size, stream=stream))

    def _make_norm(self, channels: int) -> BatchNorm:
        norm = BatchNorm(dtype=self.dtype_policy)
        norm.build((None, None, None, channels))
        return norm

    def _make_convolution(self, channels: int, filters: int, *, kernel_size: int, stream: str) -> keras.layers.Conv2D:
        start = keras.initializers.HeNormal(derive(self.seed, stream))
        convolution = keras.layers.Conv2D(
            filters, kernel_size, padding="same", use_bias=False, kernel_initializer=start, dtype=self.dtype_policy
        )
        convolution.build((None, None, None, channels))
        return convolution

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits (batch, num_classes) of images in [0, 1]."""
        layers = zip(self.norms, self.convolutions, strict=True)

        def convolve_next(images: tf.Tensor) -> tf.Tensor:
            norm, convolution = next(layers)
            return convolution(tf.nn.relu(norm(images, training=training)))

        state = self.stem(self.normalize(inputs))
        for block, depth in enumerate(BLOCKS):
            if block:
                state = tf.nn.avg_pool2d(convolve_next(state), 2, 2, "SAME")
            for _ in range(depth):
                state = tf.concat([convolve_next(convolve_next(state)), state], -1)
        return self.classify(tf.nn.relu(self.norm(state, training=training)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "growth": self.growth}
