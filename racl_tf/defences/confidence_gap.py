"""The confidence gap: the loss that L2-nonexpansive networks are trained by."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from racl_tf.attacks.losses import cross_entropy
from racl_tf.defences.defence import Defence
from racl_tf.errors import UsageError
from racl_tf.networks.l2_nonexpansive import L2Nonexpansive


@keras.saving.register_keras_serializable("racl_tf")
@dataclass(frozen=True)
class ConfidenceGap(Defence):
    """The loss of L2-nonexpansive networks, L_a + accuracy L_b + gap L_c (Qian and Wegman, ICLR 2019).

    On logits y of clean images, whose lead is a guarantee (see `L2Nonexpansive`):

    - L_a, the mean cross-entropy of (u_1 y_1, ..., u_K y_K), mimics that of a network without limits;
    - L_b, the mean cross-entropy of v y, is for accuracy, which v > 0 does not change;
    - L_c, the mean of log(1 - softmax(z y)_label) / z, is about minus the gap by which the label leads where it
      leads, and about 0 where it does not: it trades the gap of images that are lost for that of others.

    The scales u and v are trained with the network, and belong to it.

    Differences from the source: the three terms are written from memory of it and agree with an unofficial
    implementation, since the text itself was not at hand; the weights and z are ours, chosen on the digits, not the
    paper's for MNIST and CIFAR-10; u and v are kept positive, as exponentials of what is trained, and start at 10; the
    regularisation of matrices is left out, since the network scales them in every pass.

    Arguments:
        accuracy: the weight of L_b, at least 0.
        gap: the weight of L_c, at least 0.
        z: the softness of L_c: a larger one tells only leads apart, positive.

    Raises:
        UsageError: an argument is out of its range.
    """

    accuracy: float = 1.0
    gap: float = 10.0
    z: float = 30.0

    def __post_init__(self) -> None:
        if not (self.accuracy >= 0 and self.gap >= 0 and self.z > 0):
            raise UsageError(
                "`accuracy` and `gap` of ConfidenceGap must be numbers of at least 0, and `z` positive. "
                f"Received: accuracy={self.accuracy!r}, gap={self.gap!r}, z={self.z!r}."
            )

    def objective(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if not isinstance(network, L2Nonexpansive):
            raise UsageError(
                "The confidence gap of a network means something where its Lipschitz constant is limited: train "
                f"L2Nonexpansive, `make_network('l2nnn')`, by it. Received: {type(network).__name__}."
            )
        logits, by_class, by_one = network(images, training=True, scaled=True)
        losses = cross_entropy(by_class, labels) + self.accuracy * cross_entropy(by_one, labels)
        return tf.reduce_mean(losses + self.gap * soft_gap(logits, labels, self.z)), logits


def soft_gap(logits: tf.Tensor, labels: tf.Tensor, z: float) -> tf.Tensor:
    """Returns log(1 - softmax(z y)_label) / z per row of logits y, (B,): about -(y_label - max of others), or 0.

    >>> print(soft_gap(tf.constant([[0.0, 3.0], [3.0, 0.0]]), tf.constant([1, 1]), 10.0).numpy().round(4) + 0.0)
    [-3.  0.]
    """
    scaled = z * logits
    is_label = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    others = tf.where(is_label, logits.dtype.min, scaled)
    return (tf.reduce_logsumexp(others, axis=-1) - tf.reduce_logsumexp(scaled, axis=-1)) / z
