"""Adversarial training, and the callbacks that log, stop and resume any training."""

from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.callbacks import BestNetwork, Checkpoints, DropPathRamp, HistoryFile, Progress, StopOnDivergence

__all__ = [
    "AdversarialTrainer",
    "BestNetwork",
    "Checkpoints",
    "DropPathRamp",
    "HistoryFile",
    "Progress",
    "StopOnDivergence",
]
