"""The genotype that a searched architecture stands for."""

import numpy as np
import numpy.typing as npt

from racl_tf.errors import UsageError
from racl_tf.space.genotype import Cell, Edge, Genotype
from racl_tf.space.operations import CANDIDATES, EDGES, INPUTS, NODES, OPERATIONS, ZERO, edges_into

_KEPT = 2


def select_genotype(edge_scores: npt.ArrayLike, *, name: str | None = None) -> Genotype:
    """Returns the genotype that keeps each node's two best edges and, on each, its best operation.

    An edge is as good as its best operation other than zero (Section 2.2, as in DARTS). The better edge of a
    node comes first; ties go to the lower index. Only the order of scores matters, so weights and their
    logarithms select the same.

    Arguments:
        edge_scores: shape (2, 14, 8): the normal and the reduction cell, `EDGES`, `OPERATIONS`; for example
            exp(mu_alpha + mu_beta).
        name: the genotype's name.

    Raises:
        UsageError: the scores have another shape or are not all numbers.
    """
    scores = np.asarray(edge_scores, dtype=np.float64)
    expected = (2, len(EDGES), len(OPERATIONS))
    if scores.shape != expected:
        raise UsageError(f"Scores must have shape {expected}: cells, edges, operations. Received: {scores.shape}.")
    if np.isnan(scores).any():
        cell, edge, operation = np.argwhere(np.isnan(scores))[0]
        raise UsageError(
            f"Scores must be numbers. Received: {np.isnan(scores).sum()} NaN, the first at cell {cell}, edge {edge}, "
            f"{OPERATIONS[operation]}; the search that they come from has diverged."
        )
    normal, reduce = (_select_cell(cell) for cell in scores)
    return Genotype(normal, reduce, name)


def random_genotype(seed: int, *, name: str | None = None) -> Genotype:
    """Returns cells drawn uniformly from all that `select_genotype` can select: the baseline of any search.

    >>> random_genotype(0) == random_genotype(0) != random_genotype(1)
    True
    """
    scores = np.random.default_rng(seed).random((2, len(EDGES), len(OPERATIONS)))
    return select_genotype(scores, name=name)


def _select_cell(scores: npt.NDArray[np.float64]) -> Cell:
    candidates = np.delete(scores, ZERO, axis=1)
    nodes = []
    for node in range(INPUTS, INPUTS + NODES):
        best = sorted(edges_into(node), key=lambda edge: -candidates[edge].max())[:_KEPT]
        nodes.append(tuple(Edge(CANDIDATES[candidates[edge].argmax()], EDGES[edge][0]) for edge in best))
    return Cell(tuple(nodes), tuple(range(INPUTS, INPUTS + NODES)))
