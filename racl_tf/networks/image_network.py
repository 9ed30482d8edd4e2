"""What every network shares: images in [0, 1] that are normalised inside, logits in float32 at the end."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.layers.operations import uniform
from racl_tf.seeding import derive


class ImageNetwork(keras.Model):
    """An image classifier: normalisation, what a subclass makes of it, global average pooling, logits.

    Images are in [0, 1]: mean and standard deviation are taken off inside, so that attacks and exports work
    in pixel units. A subclass makes features, builds `head` for them and ends its `call` with `classify`.

    Arguments:
        num_classes: the number of logits.
        input_shape: (height, width, 1 or 3) of the images.
        mean, std: of the pixels in [0, 1], one number or one per channel.
        seed: of the initial weights.

    Raises:
        UsageError: an argument is out of its range.
    """

    head: keras.layers.Dense

    def __init__(
        self,
        num_classes: int,
        *,
        input_shape: tuple[int, int, int],
        mean: float | tuple[float, ...],
        std: float | tuple[float, ...],
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # pixels, alpha and beta stay float32 under a mixed policy
        check_positive(num_classes=num_classes)
        if len(input_shape) != 3 or input_shape[-1] not in (1, 3) or min(input_shape) < 1:
            raise UsageError(
                "`input_shape` must be (height, width, channels) with 1 or 3 channels. "
                f"Received: input_shape={tuple(input_shape)!r}."
            )
        self.num_classes = num_classes
        self.image_shape = tuple(input_shape)
        self.mean = _per_channel("mean", mean, input_shape[-1])
        self.std = _per_channel("std", std, input_shape[-1])
        if min(self.std) <= 0:
            raise UsageError(f"`std` must be positive. Received: std={std!r}.")
        self.seed = seed

    def normalize(self, images: tf.Tensor) -> tf.Tensor:
        """Returns (images - mean) / std, per channel, in the network's compute dtype."""
        images = tf.convert_to_tensor(images)
        if not images.shape[1:].is_compatible_with(self.image_shape):  # or TensorFlow would repeat a single channel
            raise UsageError(f"The network is for images of shape {self.image_shape}. Received: {images.shape[1:]}.")
        normalised = (tf.cast(images, tf.float32) - tf.constant(self.mean)) / tf.constant(self.std)
        return tf.cast(normalised, self.compute_dtype)

    def classify(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the logits (batch, classes), float32, of features (batch, height, width, channels)."""
        return tf.cast(self.head(tf.reduce_mean(features, [1, 2])), tf.float32)

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """(None, height, width, channels) of the images."""
        return (None, *self.image_shape)

    def compute_output_shape(self, input_shape: tuple[Any, ...], **_: Any) -> tuple[Any, ...]:
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "input_shape": self.image_shape,
            "mean": self.mean,
            "std": self.std,
            "seed": self.seed,
        }


def dense_head(num_classes: int, features: int, *, seed: int, dtype: Any) -> keras.layers.Dense:
    """Returns the built linear classifier, kernel and bias uniform in +-1 / sqrt(features)."""
    head = keras.layers.Dense(
        num_classes,
        kernel_initializer=uniform(features, derive(seed, "kernel")),
        bias_initializer=uniform(features, derive(seed, "bias")),
        dtype=dtype,
    )
    head.build((None, features))
    return head


def check_positive(**sizes: Any) -> None:
    """Checks that arguments, given by their names, are positive integers.

    Raises:
        UsageError: one is not.
    """
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")


def _per_channel(name: str, value: float | tuple[float, ...], channels: int) -> tuple[float, ...]:
    values = (float(value),) * channels if isinstance(value, int | float) else tuple(map(float, value))
    if len(values) != channels:
        raise UsageError(f"`{name}` must be one number or one for each of {channels} channels. Received: {value!r}.")
    return values
