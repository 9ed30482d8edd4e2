"""Robust accuracy: how many images stand under which attacks, and whether the figures can be trusted."""

from racl_tf.evaluation.findings import Finding, Findings
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.evaluation.masking import check_for_masking
from racl_tf.evaluation.models import load_classifier
from racl_tf.evaluation.result import Evaluation, Fates, save_results
from racl_tf.evaluation.robustness import evaluate
from racl_tf.evaluation.sweep import Sweep, sweep_eps, sweep_steps
from racl_tf.evaluation.transfer import Transfer, transfer

__all__ = [
    "Evaluation",
    "Fates",
    "Finding",
    "Findings",
    "Sweep",
    "Transfer",
    "check_for_masking",
    "evaluate",
    "load_classifier",
    "save_results",
    "sweep_eps",
    "sweep_steps",
    "transfer",
    "wilson_interval",
]
