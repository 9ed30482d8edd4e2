"""TRADES: accuracy on clean images, and the same prediction in the ball around each."""

from dataclasses import dataclass, replace

import keras
import tensorflow as tf

from racl_tf.attacks import GradientAttack, pgd
from racl_tf.defences.defence import Defence, supervised
from racl_tf.errors import UsageError


@keras.saving.register_keras_serializable("racl_tf")
@dataclass(frozen=True)
class Trades(Defence):
    """TRADES: CE(f(x), y) + beta max_{||d|| <= eps} KL(f(x) || f(x + d)) (Zhang et al., ICML 2019).

    The inner maximum is by PGD on that divergence, against the network in inference mode, which needs no label. The
    clean and the attacked images then pass through the network in training mode one after the other, so that batch
    normalisation takes the statistics of each for itself, and gradients flow through both sides of the divergence.
    Training accuracy is that on the attacked images. An auxiliary head adds its cross-entropy on clean images.

    Differences from the source: the attack starts at a uniform point of the ball, as all PGD here, where the authors'
    code starts at x + 0.001 N(0, I). Either leaves x itself, where the divergence is 0 and so is its gradient.

    Arguments:
        attack: PGD from a random start; its loss is not used.
        beta: the weight of the divergence, at least 0; 6 in the paper's main results.
        auxiliary_weight: of the loss of an auxiliary head, where the network has one.

    Raises:
        UsageError: the attack has no random start or is targeted, or beta is negative.
    """

    attack: GradientAttack
    beta: float = 6.0
    auxiliary_weight: float = 0.4

    def __post_init__(self) -> None:
        if not self.attack.random_start or self.attack.targeted:
            raise UsageError(
                "TRADES needs an untargeted attack with random_start=True: at the clean image itself the divergence "
                f"that it raises has no gradient. Received: {self.attack}."
            )
        if not self.beta >= 0:
            raise UsageError(f"`beta` of TRADES must be a number of at least 0. Received: beta={self.beta!r}.")

    def objective(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        attacked = self.perturb(network, images, seeds)
        natural, logits = supervised(network, images, labels, self.auxiliary_weight)
        attacked_logits = network(attacked, training=True)
        return natural + self.beta * tf.reduce_mean(divergence(logits, attacked_logits)), attacked_logits

    def perturb(self, network: keras.Model, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns the images (B, ...) in the balls around `images` that PGD finds of largest divergence."""
        clean = network(images, training=False)

        def pair(attacked: tf.Tensor) -> tf.Tensor:
            raised = divergence(clean, network(attacked, training=False))
            return tf.stack([tf.zeros_like(raised), raised], axis=1)

        # The margin of the pair (0, KL) for label 0, which the attack raises, is KL.
        zeros = tf.zeros(tf.shape(images)[:1], tf.int32)
        return replace(self.attack, loss="margin").perturb(pair, images, zeros, seeds)


def trades(
    *,
    eps: float,
    step_size: float,
    steps: int,
    norm: str = "linf",
    beta: float = 6.0,
    auxiliary_weight: float = 0.4,
) -> Trades:
    """Returns TRADES by PGD: `steps` steps of `step_size` in the ball of radius `eps`; see `Trades` and `pgd`."""
    return Trades(pgd(eps, step_size, steps, norm=norm), beta, auxiliary_weight)


def divergence(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns KL(softmax(logits) || softmax(others)) per row, (B,), at least 0.

    >>> print(divergence(tf.constant([[0.0, 0.0]]), tf.math.log([[0.25, 0.75]])).numpy().round(4))
    [0.1438]
    """
    log_p, log_q = tf.nn.log_softmax(logits), tf.nn.log_softmax(others)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)
