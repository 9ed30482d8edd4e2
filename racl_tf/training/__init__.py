"""Adversarial training, and the callbacks that log, stop and resume any training."""

from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.callbacks import BestNetwork, DropPathRamp, HistoryFile, Progress, StopOnDivergence
from racl_tf.training.checkpoints import Checkpoints, Position

__all__ = [
    "AdversarialTrainer",
    "BestNetwork",
    "Checkpoints",
    "DropPathRamp",
    "HistoryFile",
    "Position",
    "Progress",
    "StopOnDivergence",
]
