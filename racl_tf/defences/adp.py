"""Adaptive diversity promoting training: an ensemble whose members err differently."""

from dataclasses import dataclass
from typing import ClassVar

import keras
import tensorflow as tf

from racl_tf.defences.defence import Defence, supervised
from racl_tf.errors import UsageError
from racl_tf.networks.ensemble import Ensemble, log_mean_probabilities

OFFSET = 1e-6


@keras.saving.register_keras_serializable("racl_tf")
@dataclass(frozen=True)
class ADP(Defence):
    """Adaptive diversity promoting: sum_k CE(f_k(x), y) - alpha H(mean_k f_k(x)) - beta log ED.

    Pang et al., Improving Adversarial Robustness via Promoting Ensemble Diversity, ICML 2019. It trains an `Ensemble`
    on clean images. H is the Shannon entropy of the mean prediction, and ED the diversity of the members on the
    classes that are not the label (`log_diversity`): accuracy is left alone, and what fools one member need not fool
    the others. Training sees no attack, and the paper claims robustness at small eps only. Predictions that are flat
    but for the label mislead attacks on cross-entropy: judge it by AutoAttack as well.

    Arguments:
        alpha: the weight of the entropy, at least 0; 2 in the paper.
        beta: the weight of the diversity, at least 0; 0.5 in the paper.
        auxiliary_weight: of the loss of auxiliary heads, where the members have one.

    Raises:
        UsageError: a weight is negative.
    """

    members: ClassVar[int] = 3

    alpha: float = 2.0
    beta: float = 0.5
    auxiliary_weight: float = 0.4

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.beta >= 0):
            raise UsageError(
                "`alpha` and `beta` of ADP must be numbers of at least 0. "
                f"Received: alpha={self.alpha!r}, beta={self.beta!r}."
            )

    def objective(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if not isinstance(network, Ensemble):
            raise UsageError(
                f"ADP trains an Ensemble of networks, 3 in its paper: Ensemble([first, second, third]). "
                f"Received: {type(network).__name__}."
            )
        passes = [supervised(member, images, labels, self.auxiliary_weight) for member in network.members]
        losses, logits = zip(*passes, strict=True)
        mean = log_mean_probabilities(logits)
        entropy = tf.reduce_mean(-tf.reduce_sum(tf.exp(mean) * mean, axis=-1))
        diversity = tf.reduce_mean(log_diversity(logits, labels))
        return tf.add_n(losses) - self.alpha * entropy - self.beta * diversity, mean


def log_diversity(logits: tuple[tf.Tensor, ...], labels: tf.Tensor) -> tf.Tensor:
    """Returns log ED of members' logits (B, classes) per image, (B,): the log of det(M^T M + 1e-6 I).

    Column k of M is member k's prediction without the label's entry, scaled to length 1, so that ED is the squared
    volume that the columns span: 1 if they are orthogonal, 0 if two agree. The offset, as in the authors' code, keeps
    the log finite. It is computed in float64, and from logits: the length cancels what softmax would underflow.

    >>> print(log_diversity((tf.constant([[0.0, 9.0, -99.0]]), tf.constant([[0.0, -99.0, 9.0]])), [0]).numpy().round(3))
    [0.]
    """
    stacked = tf.cast(tf.stack(list(logits), axis=1), tf.float64)
    is_label = tf.one_hot(labels, stacked.shape[-1], on_value=True, off_value=False, dtype=tf.bool)[:, None]
    others = tf.nn.softmax(tf.where(is_label, stacked.dtype.min, stacked))
    columns = others / tf.norm(others, axis=-1, keepdims=True)
    gram = tf.matmul(columns, columns, transpose_b=True) + OFFSET * tf.eye(len(logits), dtype=tf.float64)
    return tf.cast(tf.linalg.logdet(gram), tf.float32)
