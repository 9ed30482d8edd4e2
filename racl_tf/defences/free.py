"""Free adversarial training: one backward pass for both the weights and the images."""

from dataclasses import dataclass, replace

import keras
import tensorflow as tf

from racl_tf.attacks import GradientAttack, pgd
from racl_tf.defences.defence import Defence, supervised
from racl_tf.errors import UsageError


@keras.saving.register_keras_serializable("racl_tf")
@dataclass(frozen=True)
class FreeAdversarialTraining(Defence):
    """Free adversarial training (Shafahi et al., Adversarial Training for Free!, NeurIPS 2019).

    A step of training replays its batch: `replays` times it descends on images x + d, and the same backward pass gives
    the gradient g by which d <- P(d + eps sign(g)) moves them for the next replay. So an epoch of m replays costs about
    as much as m of plain training, makes m times as many descents, and is given 1/m of the epochs that those would be.

    Differences from the source: d starts at a uniform point of the ball for each batch, where the authors go on with
    the last batch's d, which belongs to other images; so a step depends on nothing but the weights, the batch and the
    seed. Their steps on CIFAR-10 are of length eps, as here.

    Arguments:
        attack: its steps are the replays, of which each moves the images by a step: untargeted, on the cross-entropy,
            without momentum, restarts or means of several evaluations.
        auxiliary_weight: of the loss of an auxiliary head, where the network has one.

    Raises:
        UsageError: the attack is another.
    """

    attack: GradientAttack
    auxiliary_weight: float = 0.4

    def __post_init__(self) -> None:
        usual = replace(self.attack, loss="cross_entropy", decay=0.0, targeted=False, restarts=1, eot=1)
        if self.attack != usual:
            raise UsageError(
                "Free adversarial training moves images by the gradient of the loss that it trains by: give an attack "
                f"such as pgd(8 / 255, 8 / 255, 8). Received: {self.attack}."
            )

    @property
    def replays(self) -> int:
        return self.attack.steps

    def start(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return self.attack.first(images, seeds)

    def move(self, images: tf.Tensor, moved: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return self.attack.moved(images, moved, gradient)

    def objective(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return supervised(network, images, labels, self.auxiliary_weight)


def free(*, eps: float, steps: int, norm: str = "linf", auxiliary_weight: float = 0.4) -> FreeAdversarialTraining:
    """Returns free adversarial training; see `FreeAdversarialTraining`.

    Arguments:
        eps: radius of the ball, and length of a step, in units of pixels in [0, 1].
        steps: replays of every batch; 8 were best in the paper on CIFAR-10.
        norm: "linf" as in the paper, or "l2".
        auxiliary_weight: of the loss of an auxiliary head, where the network has one.
    """
    return FreeAdversarialTraining(pgd(eps, eps, steps, norm=norm), auxiliary_weight)
