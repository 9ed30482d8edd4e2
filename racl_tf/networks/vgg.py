"""VGG-19 for small images: the model on which the paper crafts its black-box attacks (Table 2)."""

from itertools import islice
from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import check_positive
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.networks.image_network import ImageNetwork, dense_head
from racl_tf.seeding import derive

# The convolutions of each block, and their filters as multiples of the first block's.
BLOCKS = ((2, 1), (2, 2), (4, 4), (4, 8), (4, 8))


@keras.saving.register_keras_serializable("racl_tf")
class VGG19(ImageNetwork):
    """VGG-19 (Simonyan and Zisserman, 2015, configuration E) with batch normalisation and one linear layer.

    Five blocks of 3x3 convolutions with 64, 128, 256, 512 and 512 filters, each convolution followed by normalisation
    and ReLU and each block by a 2x2 max pool; then global average pooling and the logits. It is the form usual on
    CIFAR, of 20,040,522 parameters for 10 classes: without the hidden dense layers for ImageNet, and with biases that
    the normalisation takes off again. Pools round up, so that images of any size go through: 28x28 ones become 14, 7,
    4, 2 and 1 pixels wide, and 1 stays 1. Convolutions start from He's normal distribution (He et al., 2015).

    Arguments:
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
        channels: the filters of the first block.
        kwargs: what `ImageNetwork` takes: the `seed` of the initial weights, or `input_shape`, `mean` and `std`.

    Raises:
        UsageError: an argument is out of its range.

    >>> network = VGG19(10, channels=2, input_shape=(8, 8, 1))
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
        self.convolutions: list[keras.layers.Conv2D] = []
        self.norms: list[BatchNorm] = []
        shape: tuple[Any, ...] = (None, None, None, self.image_shape[-1])
        for depth, multiple in BLOCKS:
            for _ in range(depth):
                start = keras.initializers.HeNormal(derive(self.seed, f"convolution_{len(self.convolutions)}"))
                convolution = keras.layers.Conv2D(
                    channels * multiple, 3, padding="same", kernel_initializer=start, dtype=self.dtype_policy
                )
                convolution.build(shape)
                shape = (*shape[:-1], channels * multiple)
                norm = BatchNorm(dtype=self.dtype_policy)
                norm.build(shape)
                self.convolutions.append(convolution)
                self.norms.append(norm)
        self.head = dense_head(self.num_classes, shape[-1], seed=derive(self.seed, "head"), dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits (batch, num_classes) of images in [0, 1]."""
        state = self.normalize(inputs)
        layers = zip(self.convolutions, self.norms, strict=True)
        for depth, _ in BLOCKS:
            for convolution, norm in islice(layers, depth):
                state = tf.nn.relu(norm(convolution(state), training=training))
            state = tf.nn.max_pool2d(state, 2, 2, "SAME")
        return self.classify(state)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}
