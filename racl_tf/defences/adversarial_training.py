"""Cross-entropy on attacked images, whatever the attack: PGD training, fast training, and plain training."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from racl_tf.attacks import GradientAttack
from racl_tf.attacks import pgd as pgd_attack
from racl_tf.defences.defence import Defence, supervised


@keras.saving.register_keras_serializable("racl_tf")
@dataclass(frozen=True)
class AdversarialTraining(Defence):
    r"""Adversarial training: min_W E[max_{||d|| <= eps} CE(network(x + d), y)] (Madry et al., 2018).

    The images are attacked against the network in inference mode, the descent is on the attacked images in training
    mode. `plain`, `pgd` and `fgsm_rs` construct the usual ones.

    Arguments:
        attack: what approximates the inner maximum; None trains on clean images.
        auxiliary_weight: of the loss of an auxiliary head, where the network has one (`GenotypeNetwork`).
    """

    attack: GradientAttack | None = None
    auxiliary_weight: float = 0.4

    def objective(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self.attack is not None:
            images = self.attack.perturb(lambda x: network(x, training=False), images, labels, seeds)
        return supervised(network, images, labels, self.auxiliary_weight)


def plain(*, auxiliary_weight: float = 0.4) -> AdversarialTraining:
    """Returns training without a defence: cross-entropy on clean images."""
    return AdversarialTraining(auxiliary_weight=auxiliary_weight)


def pgd(
    *, eps: float, step_size: float, steps: int, norm: str = "linf", auxiliary_weight: float = 0.4
) -> AdversarialTraining:
    """Returns training on PGD's images (Madry et al., 2018).

    Arguments:
        eps: radius of the ball in units of pixels in [0, 1].
        step_size: length of one step, in the same units.
        steps: number of steps.
        norm: "linf" or "l2".
        auxiliary_weight: of the loss of an auxiliary head, where the network has one.
    """
    return AdversarialTraining(pgd_attack(eps, step_size, steps, norm=norm), auxiliary_weight)


def fgsm_rs(*, eps: float, norm: str = "linf", auxiliary_weight: float = 0.4) -> AdversarialTraining:
    """Returns fast adversarial training (Wong, Rice and Kolter, Fast Is Better than Free, ICLR 2020).

    From a uniform point d of the ball one step of 1.25 eps, d <- P(d + 1.25 eps sign(g)), at about the cost of
    two plain trainings. Long training at a large eps may overfit to this one step (their "catastrophic
    overfitting"): robust accuracy under PGD then falls to 0 while that under FGSM rises.

    Arguments:
        eps: radius of the ball in units of pixels in [0, 1].
        norm: "linf" as in the paper, or "l2".
        auxiliary_weight: of the loss of an auxiliary head, where the network has one.
    """
    return AdversarialTraining(pgd_attack(eps, 1.25 * eps, 1, norm=norm), auxiliary_weight)
