"""Several networks that classify as one."""

import os
from collections.abc import Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from racl_tf.errors import UsageError


@keras.saving.register_keras_serializable("racl_tf")
class Ensemble(keras.Model):
    """A classifier by the mean of its members' probabilities: log(1/K sum_k softmax(z_k)) of their logits z_k.

    Softmax turns these outputs into the mean itself, so that attacks, evaluations and exports take them as logits.

    Arguments:
        members: networks from the same images to logits of the same classes, at least one.

    Raises:
        UsageError: there are no members, or they differ in images or classes.

    >>> from racl_tf.networks.resnet import ResNet18
    >>> ensemble = Ensemble([ResNet18(5, channels=2, input_shape=(8, 8, 1), seed=seed) for seed in range(3)])
    >>> ensemble(tf.zeros([2, 8, 8, 1])).shape
    TensorShape([2, 5])
    """

    def __init__(self, members: Sequence[keras.Model], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        images = [tuple(member.input_shape) for member in members]
        logits = [tuple(member.compute_output_shape(shape)) for member, shape in zip(members, images, strict=True)]
        shapes = list(zip(images, logits, strict=True))
        if not shapes or len(set(shapes)) > 1:
            raise UsageError(
                "The members of an ensemble must be at least one network, all from the same images to the same "
                f"classes. Received, as shapes of images and logits: {shapes}."
            )
        self.members = list(members)
        self.num_classes = logits[0][-1]
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images."""
        return tuple(self.input_shape[1:])

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """(None, height, width, channels) of the images."""
        return tuple(self.members[0].input_shape)

    @property
    def classifier_weights(self) -> list[keras.Variable]:
        """The weights that belong to the classes, of all members that say which these are."""
        return [weight for member in self.members for weight in getattr(member, "classifier_weights", ())]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the log of the mean probabilities (batch, num_classes) of images in [0, 1]."""
        return log_mean_probabilities([member(inputs, training=training) for member in self.members])

    def export(self, filepath: str | os.PathLike[str], *args: Any, input_signature: Any = None, **kwargs: Any) -> None:
        """Exports the network as Keras does, for any number of its images unless a signature is given."""
        signature = input_signature or [keras.InputSpec(shape=self.input_shape, dtype="float32")]
        super().export(filepath, *args, input_signature=signature, **kwargs)

    def compute_output_shape(self, input_shape: tuple[Any, ...], **_: Any) -> tuple[Any, ...]:
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "members": list(map(keras.saving.serialize_keras_object, self.members))}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{**config, "members": list(map(keras.saving.deserialize_keras_object, config["members"]))})


def log_mean_probabilities(logits: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns log(1/K sum_k softmax(z_k)) of K members' logits z_k (B, classes), without underflow.

    >>> mean = log_mean_probabilities([tf.constant([[0.0, 0.0]]), tf.math.log([[0.1, 0.9]])])
    >>> print(tf.exp(mean).numpy().round(4))
    [[0.3 0.7]]
    """
    logs = tf.nn.log_softmax(tf.stack(list(logits)))
    return tf.reduce_logsumexp(logs, axis=0) - tf.math.log(tf.cast(len(logits), logs.dtype))
