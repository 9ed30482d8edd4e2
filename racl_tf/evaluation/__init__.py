"""Robust accuracy: how many images stand under which attacks, and whether the figures can be trusted."""

from racl_tf.evaluation.adversarial_images import AdversarialImages, find_adversarial_images
from racl_tf.evaluation.bundle import EvaluationBundle, make_bundle, verify_bundle
from racl_tf.evaluation.corruptions import (
    CorruptedImages,
    CorruptionErrors,
    evaluate_corruptions,
    read_baseline,
    read_corruptions,
)
from racl_tf.evaluation.intervals import (
    Difference,
    detectable_difference,
    holm,
    paired_bootstrap,
    wilson_interval,
)
from racl_tf.evaluation.loading import load_classifier
from racl_tf.evaluation.masking import check_for_masking
from racl_tf.evaluation.masking_report import MaskingCheck, MaskingReport
from racl_tf.evaluation.results import AttackOutcomes, Evaluation
from racl_tf.evaluation.robustness import evaluate
from racl_tf.evaluation.sweep import Sweep, sweep_eps, sweep_steps
from racl_tf.evaluation.transfer import Transfer, transfer

__all__ = [
    "AdversarialImages",
    "AttackOutcomes",
    "CorruptedImages",
    "CorruptionErrors",
    "Difference",
    "Evaluation",
    "EvaluationBundle",
    "MaskingCheck",
    "MaskingReport",
    "Sweep",
    "Transfer",
    "check_for_masking",
    "detectable_difference",
    "evaluate",
    "evaluate_corruptions",
    "find_adversarial_images",
    "holm",
    "load_classifier",
    "make_bundle",
    "paired_bootstrap",
    "read_baseline",
    "read_corruptions",
    "sweep_eps",
    "sweep_steps",
    "transfer",
    "verify_bundle",
    "wilson_interval",
]
