"""What every network shares: images in [0, 1] that are normalised inside, logits in float32 at the end."""

import os
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.initializers import uniform
from racl_tf.seeding import derive


class ImageNetwork(keras.Model):
    """An image classifier: normalisation, what a subclass makes of it, global average pooling, logits.

    Images are in [0, 1]: mean and standard deviation are taken off inside, so that attacks and exports work
    in pixel units. A subclass takes its own arguments and hands on the others, makes features, builds `head` for them
    and ends its `call` with `classify`.

    Arguments:
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone. Instead, or
            beside a number of classes, the arguments of `ImageSpec` can be given by keyword: `input_shape=(8, 8, 1)`.
        seed: of the initial weights.
        kwargs: what else describes the images, and what `keras.Model` takes.

    Raises:
        UsageError: an argument is out of its range.
    """

    head: keras.layers.Dense

    def __init__(self, spec: ImageSpec | int | None = None, *, seed: int = 0, **kwargs: Any) -> None:
        described, others = ImageSpec.from_arguments(spec, kwargs)
        super().__init__(autocast=False, **others)  # pixels, alpha and beta stay float32 under a mixed policy
        self.spec = described
        self.seed = seed

    @property
    def num_classes(self) -> int:
        """The number of logits."""
        return self.spec.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images."""
        return self.spec.input_shape

    @property
    def classifier_weights(self) -> list[keras.Variable]:
        """The weights that belong to the classes: those of every head, whose shapes tell how many classes there are."""
        return list(self.head.weights)

    def normalize(self, images: tf.Tensor) -> tf.Tensor:
        """Returns (images - mean) / std, per channel, in the network's compute dtype."""
        images = tf.convert_to_tensor(images)
        if not images.shape[1:].is_compatible_with(self.image_shape):  # or TensorFlow would repeat a single channel
            raise UsageError(f"The network is for images of shape {self.image_shape}. Received: {images.shape[1:]}.")
        normalized = (tf.cast(images, tf.float32) - tf.constant(self.spec.mean)) / tf.constant(self.spec.std)
        return tf.cast(normalized, self.compute_dtype)

    def classify(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the logits (batch, classes), float32, of features (batch, height, width, channels)."""
        return tf.cast(self.head(tf.reduce_mean(features, [1, 2])), tf.float32)

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """(None, height, width, channels) of the images."""
        return (None, *self.image_shape)

    def export(self, filepath: str | os.PathLike[str], *args: Any, input_signature: Any = None, **kwargs: Any) -> None:
        """Exports the network as Keras does, for any number of its images unless a signature is given."""
        signature = input_signature or [keras.InputSpec(shape=self.input_shape, dtype="float32")]
        super().export(filepath, *args, input_signature=signature, **kwargs)

    def compute_output_shape(self, input_shape: tuple[Any, ...], **_: Any) -> tuple[Any, ...]:
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **asdict(self.spec), "seed": self.seed}


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
