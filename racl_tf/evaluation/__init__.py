"""Robust accuracy: how many images stand under which attacks."""

from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.evaluation.result import Evaluation, Fates, save_results
from racl_tf.evaluation.robustness import evaluate

__all__ = ["Evaluation", "Fates", "evaluate", "save_results", "wilson_interval"]
