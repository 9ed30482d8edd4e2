"""Selection against an exhaustive search over everything that could have been selected."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from racl_tf.errors import UsageError
from racl_tf.space import EDGES, OPERATIONS, ZERO, Cell, select_genotype

SHAPE = (2, 14, 8)


def exhaustive(scores: np.ndarray) -> Cell:
    """Returns the cell whose nodes are, of all pairs of edges with operations, the first with the best scores."""
    nodes = []
    for node in range(2, 6):
        rows = [(row, source) for row, (source, target) in enumerate(EDGES) if target == node]
        choices = [
            ((scores[a, i], scores[b, j]), [(OPERATIONS[i], source_a), (OPERATIONS[j], source_b)])
            for (a, source_a), (b, source_b) in itertools.permutations(rows, 2)
            for i, j in itertools.product(range(1, 8), repeat=2)
        ]
        nodes.append(max(choices, key=lambda choice: choice[0])[1])
    return Cell(nodes, range(2, 6))


@settings(deadline=None, max_examples=20)
@given(npst.arrays(float, SHAPE, elements=st.integers(0, 4)) | npst.arrays(float, SHAPE, elements=st.floats(0, 10)))
def test_equals_exhaustive_search(scores: np.ndarray) -> None:
    genotype = select_genotype(scores)
    assert genotype.normal == exhaustive(scores[0])
    assert genotype.reduce == exhaustive(scores[1])


@settings(deadline=None, max_examples=20)
@given(npst.arrays(float, SHAPE, elements=st.integers(-5, 5)))
def test_weights_and_their_logarithms_select_the_same(logs: np.ndarray) -> None:
    assert select_genotype(logs) == select_genotype(np.exp(logs))


def test_ties_go_to_the_lower_index() -> None:
    genotype = select_genotype(np.ones(SHAPE), name="flat")
    assert genotype.normal == Cell([[("max_pool_3x3", 0), ("max_pool_3x3", 1)]] * 4, range(2, 6))
    assert genotype.name == "flat"


def test_the_better_edge_comes_first_and_zero_never_counts() -> None:
    scores = np.zeros(SHAPE)
    scores[..., ZERO] = 9.0
    last_node = [EDGES.index((source, 5)) for source in range(5)]
    scores[0, last_node[1], OPERATIONS.index("dil_conv_5x5")] = 1.0
    scores[0, last_node[4], OPERATIONS.index("skip_connect")] = 2.0
    scores[0, last_node[4], OPERATIONS.index("sep_conv_3x3")] = 1.5
    assert select_genotype(scores).normal.nodes[3] == (("skip_connect", 4), ("dil_conv_5x5", 1))


def test_edges_are_in_the_order_of_pc_darts() -> None:
    assert EDGES[:5] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert EDGES[-5:] == ((0, 5), (1, 5), (2, 5), (3, 5), (4, 5))
    assert len(EDGES) == 14


def test_scores_that_are_no_numbers_are_refused() -> None:
    scores = np.ones(SHAPE)
    scores[1, 3, 2] = np.nan
    with pytest.raises(UsageError, match="1 NaN, the first at cell 1, edge 3, avg_pool_3x3"):
        select_genotype(scores)
    with pytest.raises(UsageError, match=r"shape \(2, 14, 8\).*Received: \(14, 8\)"):
        select_genotype(scores[0])
