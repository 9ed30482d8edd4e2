"""Every reading of a network's Lipschitz constant: the paper's surrogate (Eqs. 8 to 12), and figures that bound it."""

from racl_tf.lipschitz.bounds import LipschitzPair, lipschitz_bounds, steepest_slope, upper_bound
from racl_tf.lipschitz.genotype_surrogate import log_surrogate
from racl_tf.lipschitz.operation_gains import GainComparison, compare_norms_with_gains, operation_gains
from racl_tf.lipschitz.operation_norms import NORM_KINDS, OperationNorms
from racl_tf.lipschitz.surrogate import (
    LogNormal,
    edge_constants,
    least_relative_mean,
    network_constant,
    node_constants,
    sum_of_log_normals,
)

__all__ = [
    "NORM_KINDS",
    "GainComparison",
    "LipschitzPair",
    "LogNormal",
    "OperationNorms",
    "compare_norms_with_gains",
    "edge_constants",
    "least_relative_mean",
    "lipschitz_bounds",
    "log_surrogate",
    "network_constant",
    "node_constants",
    "operation_gains",
    "steepest_slope",
    "sum_of_log_normals",
    "upper_bound",
]
