"""Attacks on image classifiers: what they are (`Attack`), their names, and how they run."""

from racl_tf.attacks.apgd import APGD
from racl_tf.attacks.attack import Attack
from racl_tf.attacks.autoattack import autoattack
from racl_tf.attacks.carlini_wagner import CarliniWagner
from racl_tf.attacks.classifier import Classifier
from racl_tf.attacks.fab import FAB
from racl_tf.attacks.gradient import GradientAttack, fgsm, mim, pgd
from racl_tf.attacks.losses import LOSSES
from racl_tf.attacks.norms import NORMS
from racl_tf.attacks.process import image_seeds
from racl_tf.attacks.registry import ATTACKS, make_attack, standard_suite
from racl_tf.attacks.square import Square
from racl_tf.backend import require_tensorflow

require_tensorflow()

__all__ = [
    "APGD",
    "ATTACKS",
    "FAB",
    "LOSSES",
    "NORMS",
    "Attack",
    "CarliniWagner",
    "Classifier",
    "GradientAttack",
    "Square",
    "autoattack",
    "fgsm",
    "image_seeds",
    "make_attack",
    "mim",
    "pgd",
    "standard_suite",
]
