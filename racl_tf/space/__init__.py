"""What can be built: operations, genotypes, the published ones, and the choice of one from scores."""

from racl_tf.space.catalogue import GENOTYPES, get_genotype
from racl_tf.space.genotype import Cell, Edge, Genotype
from racl_tf.space.operations import (
    CANDIDATES,
    EDGES,
    INPUTS,
    NODES,
    OPERATIONS,
    PUBLISHED_OPERATIONS,
    ZERO,
    edges_from,
    edges_into,
)
from racl_tf.space.selection import random_genotype, select_genotype

__all__ = [
    "CANDIDATES",
    "EDGES",
    "GENOTYPES",
    "INPUTS",
    "NODES",
    "OPERATIONS",
    "PUBLISHED_OPERATIONS",
    "ZERO",
    "Cell",
    "Edge",
    "Genotype",
    "edges_from",
    "edges_into",
    "get_genotype",
    "random_genotype",
    "select_genotype",
]
