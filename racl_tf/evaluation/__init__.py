"""Robust accuracy: how many images stand under which attacks, and whether the figures can be trusted."""

from racl_tf.evaluation.choice import Candidate, Choice
from racl_tf.evaluation.comparing import Difference, paired_bootstrap
from racl_tf.evaluation.confidence import choose_by_confidence
from racl_tf.evaluation.findings import Finding, Findings
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.evaluation.lipschitz import LipschitzPair, lipschitz_bounds
from racl_tf.evaluation.masking import check_for_masking
from racl_tf.evaluation.models import load_classifier
from racl_tf.evaluation.result import Evaluation, Fates, save_results
from racl_tf.evaluation.robustness import evaluate
from racl_tf.evaluation.sweep import Sweep, sweep_eps, sweep_steps
from racl_tf.evaluation.transfer import Transfer, transfer

__all__ = [
    "Candidate",
    "Choice",
    "Difference",
    "Evaluation",
    "Fates",
    "Finding",
    "Findings",
    "LipschitzPair",
    "Sweep",
    "Transfer",
    "check_for_masking",
    "choose_by_confidence",
    "evaluate",
    "lipschitz_bounds",
    "load_classifier",
    "paired_bootstrap",
    "save_results",
    "sweep_eps",
    "sweep_steps",
    "transfer",
    "wilson_interval",
]
