"""Keras layers of the search space: candidate operations, the cells of a genotype, the mixed cells of the supernet."""

from racl_tf.backend import require_tensorflow

require_tensorflow()

from racl_tf.layers.batch_norm import BatchNorm  # noqa: E402
from racl_tf.layers.genotype_cell import GenotypeCell  # noqa: E402
from racl_tf.layers.mixed_cell import MixedCell  # noqa: E402
from racl_tf.layers.mixed_edges import MixedEdges  # noqa: E402
from racl_tf.layers.operations import (  # noqa: E402
    OPERATION_LAYERS,
    FactorizedReduction,
    Pool,
    ReLUConvBN,
    SeparableConv,
)

__all__ = [
    "OPERATION_LAYERS",
    "BatchNorm",
    "FactorizedReduction",
    "GenotypeCell",
    "MixedCell",
    "MixedEdges",
    "Pool",
    "ReLUConvBN",
    "SeparableConv",
]
