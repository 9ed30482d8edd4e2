"""Every reading of a network's Lipschitz constant: the paper's surrogate (Eqs. 8 to 12), and figures that bound it."""

from racl_tf.lipschitz.bounds import LipschitzPair, lipschitz_bounds, steepest_slope, upper_bound
from racl_tf.lipschitz.genotype_surrogate import log_surrogate
from racl_tf.lipschitz.operation_norms import NORM_KINDS, OperationNorms
from racl_tf.lipschitz.surrogate import (
    LogNormal,
    edge_constants,
    network_constant,
    node_constants,
    sum_of_log_normals,
)

__all__ = [
    "NORM_KINDS",
    "LipschitzPair",
    "LogNormal",
    "OperationNorms",
    "edge_constants",
    "lipschitz_bounds",
    "log_surrogate",
    "network_constant",
    "node_constants",
    "steepest_slope",
    "sum_of_log_normals",
    "upper_bound",
]
