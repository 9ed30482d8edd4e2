"""Defences: what a network is trained on and by which loss (`Defence`), and their names."""

from racl_tf.defences.adp import ADP
from racl_tf.defences.adversarial_training import AdversarialTraining, fgsm_rs, pgd, plain
from racl_tf.defences.confidence_gap import ConfidenceGap
from racl_tf.defences.defence import Defence
from racl_tf.defences.free import FreeAdversarialTraining, free
from racl_tf.defences.registry import DEFENCES, make_defence
from racl_tf.defences.trades import Trades, trades

__all__ = [
    "ADP",
    "DEFENCES",
    "AdversarialTraining",
    "ConfidenceGap",
    "Defence",
    "FreeAdversarialTraining",
    "Trades",
    "fgsm_rs",
    "free",
    "make_defence",
    "pgd",
    "plain",
    "trades",
]
