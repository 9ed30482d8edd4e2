"""The names of what an edge of a cell can compute, and the edges of the search cell.

Nodes 0 and 1 of a cell are its inputs, the outputs of the cell before the previous one and
of the previous one; nodes 2, 3, ... are the intermediate nodes, each a sum of its edges.
"""

import math

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The candidates on every edge of the search cell, in the order of the architecture parameters."""

ZERO = OPERATIONS.index("none")
"""The index of zero, which an edge of the search cell can hold and an edge of a genotype cannot."""

CANDIDATES = (*OPERATIONS[:ZERO], *OPERATIONS[ZERO + 1 :])
"""The operations but zero: what a genotype is selected from."""

PUBLISHED_OPERATIONS = ("sep_conv_7x7", "conv_7x1_1x7")
"""What published genotypes need besides."""

INPUTS = 2
"""The number of inputs of a cell."""

NODES = 4
"""The number of intermediate nodes of the search cell."""

EDGES = tuple((source, node) for node in range(INPUTS, INPUTS + NODES) for source in range(node))
"""The 14 edges (source, node) of the search cell, ordered by node and then by source, as in PC-DARTS."""

MOST_ENTROPY = math.log(len(CANDIDATES))
"""The entropy in nats of equal weights of an edge's operations but zero."""

MOST_ENTROPY_OF_EDGES = sum(math.log(node) for node in range(INPUTS, INPUTS + NODES)) / NODES
"""That of equal weights of the edges into a node, averaged over nodes."""


def edges_from(source: int) -> list[int]:
    """Returns the indices in `EDGES` of the edges that leave a node, by target.

    >>> edges_from(3)
    [8, 12]
    """
    return [index for index, edge in enumerate(EDGES) if edge[0] == source]


def edges_into(node: int) -> list[int]:
    """Returns the indices in `EDGES` of the edges that lead into a node, by source; they are consecutive.

    >>> edges_into(3)
    [2, 3, 4]
    """
    return [index for index, edge in enumerate(EDGES) if edge[1] == node]
