"""Keras layers of the search space: candidate operations, the cells of a genotype, the mixed cells of the supernet."""

from racl_tf.backend import require_tensorflow

require_tensorflow()

from racl_tf.layers.batch_norm import BatchNorm  # noqa: E402
from racl_tf.layers.factorized_reduction import FactorizedReduction  # noqa: E402
from racl_tf.layers.genotype_cell import GenotypeCell  # noqa: E402
from racl_tf.layers.identity import Identity  # noqa: E402
from racl_tf.layers.mixed_cell import MixedCell  # noqa: E402
from racl_tf.layers.mixed_edges import MixedEdges  # noqa: E402
from racl_tf.layers.operation import Operation  # noqa: E402
from racl_tf.layers.operations import OPERATION_LAYERS  # noqa: E402
from racl_tf.layers.pool import Pool  # noqa: E402
from racl_tf.layers.relu_conv_bn import ReLUConvBN  # noqa: E402
from racl_tf.layers.separable_conv import SeparableConv  # noqa: E402

__all__ = [
    "OPERATION_LAYERS",
    "BatchNorm",
    "FactorizedReduction",
    "GenotypeCell",
    "Identity",
    "MixedCell",
    "MixedEdges",
    "Operation",
    "Pool",
    "ReLUConvBN",
    "SeparableConv",
]
