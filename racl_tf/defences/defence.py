"""What a defence is: the images a network is trained on, and the loss."""

import abc
from dataclasses import asdict
from typing import Any, ClassVar, Self, cast

import keras
import tensorflow as tf

from racl_tf.attacks import GradientAttack
from racl_tf.attacks.losses import cross_entropy


class Defence(abc.ABC):
    """What a network is trained on and by which loss, as a value.

    A subclass is a frozen dataclass of numbers and at most one attack, registered as serialisable. A step of
    `AdversarialTrainer` asks it for the loss of a batch and descends on it.
    """

    members: ClassVar[int] = 1
    """How many networks of the same make it trains together, as an `Ensemble` if more than one."""

    attack: GradientAttack | None = None
    """What it trains against; None for those that train on clean images."""

    @property
    def replays(self) -> int:
        """How often a step of training descends on its batch, each time but the first on images moved by `move`."""
        return 1

    def start(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns the images (B, ...) that `objective` is first given of a batch: by default as they are."""
        del seeds
        return images

    def move(self, images: tf.Tensor, moved: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the images (B, ...) of the next replay.

        Arguments:
            images: clean.
            moved: of the last replay.
            gradient: of its loss with respect to `moved`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how images move between replays.")

    @abc.abstractmethod
    def objective(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss to descend on, a scalar, and the logits (B, K) that training accuracy is shown of.

        It is graph code, for one replica: the loss is the mean over its images.

        Arguments:
            network: from images to logits; called in training mode, but for attacks.
            images: clean, float32 (B, ...) in [0, 1]; where there are replays, as `start` and `move` made them.
            labels: integer (B,).
            seeds: one stateless seed per image, int32 (B, 2).
        """

    def get_config(self) -> dict[str, Any]:
        """Returns the fields, as Keras saves them."""
        return asdict(cast(Any, self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the defence of fields from `get_config`."""
        attack = config.get("attack")
        return cls(**config | ({"attack": GradientAttack(**attack)} if attack else {}))


def supervised(
    network: keras.Model, images: tf.Tensor, labels: tf.Tensor, auxiliary_weight: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean cross-entropy in training mode and the logits.

    A network with an auxiliary head (`GenotypeNetwork`) adds the head's cross-entropy with its weight.
    """
    if getattr(network, "auxiliary", None) is None:
        logits = network(images, training=True)
        return tf.reduce_mean(cross_entropy(logits, labels)), logits
    logits, auxiliary = network(images, training=True, auxiliary=True)
    losses = cross_entropy(logits, labels) + auxiliary_weight * cross_entropy(auxiliary, labels)
    return tf.reduce_mean(losses), logits
