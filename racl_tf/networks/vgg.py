"""VGG-19 for small images: the model on which the paper crafts its black-box attacks (Table 2)."""

from itertools import islice
from typing import Any

import keras
import tensorflow as tf

from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.networks.image_network import ImageNetwork, check_positive, dense_head
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
        num_classes: the number of logits.
        channels: the filters of the first block.
        input_shape: (height, width, 1 or 3) of the images.
        mean, std: of the pixels in [0, 1], one number or one per channel; taken off inside.
        seed: of the initial weights.

    Raises:
        UsageError: an argument is out of its range.

    >>> network = VGG19(10, channels=2, input_shape=(8, 8, 1))
    >>> network(tf.zeros([3, 8, 8, 1])).shape
    TensorShape([3, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        channels: int = 64,
        input_shape: tuple[int, int, int] = (32, 32, 3),
        mean: float | tuple[float, ...] = 0.0,
        std: float | tuple[float, ...] = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, input_shape=input_shape, mean=mean, std=std, seed=seed, **kwargs)
        check_positive(channels=channels)
        self.channels = channels
        self.convolutions: list[keras.layers.Conv2D] = []
        self.norms: list[BatchNorm] = []
        shape: tuple[Any, ...] = (None, None, None, input_shape[-1])
        for depth, multiple in BLOCKS:
            for _ in range(depth):
                start = keras.initializers.HeNormal(derive(seed, f"convolution_{len(self.convolutions)}"))
                convolution = keras.layers.Conv2D(
                    channels * multiple, 3, padding="same", kernel_initializer=start, dtype=self.dtype_policy
                )
                convolution.build(shape)
                shape = (*shape[:-1], channels * multiple)
                norm = BatchNorm(dtype=self.dtype_policy)
                norm.build(shape)
                self.convolutions.append(convolution)
                self.norms.append(norm)
        self.head = dense_head(num_classes, shape[-1], seed=derive(seed, "head"), dtype=self.dtype_policy)
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
