"""The layout of a cell: nothing overlaps, and lines do not cross where they need not."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.optimize import isotonic_regression

from racl_tf.reporting.layout import Layout, arrange, nearest_ascending
from racl_tf.space import GENOTYPES, Cell

CELLS = [cell for genotype in GENOTYPES.values() for cell in (genotype.normal, genotype.reduce)]


def place(cell: Cell) -> Layout:
    return arrange(cell, [1.0, 1.0, *(2.0 * len(edges) for edges in cell.nodes), 1.0], lane=0.25, gap=0.5)


def crossings(layout: Layout) -> int:
    lines = {line for way in layout.ways.values() for line in pairwise(way)}
    depths = layout.depths
    return sum(
        a.column == c.column and (depths[a] < depths[c]) == (depths[b] > depths[d]) and a != c and b != d
        for (a, b), (c, d) in combinations(lines, 2)
    )


@pytest.mark.parametrize("cell", CELLS)
def test_neighbours_in_a_column_keep_their_distance(cell: Cell) -> None:
    layout = place(cell)
    for one, other in combinations(layout.depths, 2):
        if one.column == other.column:
            distance = abs(layout.depths[one] - layout.depths[other])
            assert distance >= (layout.extents[one] + layout.extents[other]) / 2 + 0.5 - 1e-9


@pytest.mark.parametrize("cell", CELLS)
def test_ways_join_what_the_cell_joins_and_stop_in_every_column(cell: Cell) -> None:
    layout = place(cell)
    output = 2 + len(cell.nodes)
    edges = {(edge.source, node) for node, edges in enumerate(cell.nodes, start=2) for edge in edges}
    assert layout.ways.keys() == edges | {(node, output) for node in cell.concat}
    for (source, target), way in layout.ways.items():
        assert (way[0], way[-1]) == (layout.nodes[source], layout.nodes[target])
        assert [stop.column for stop in way] == list(range(way[0].column, way[-1].column + 1))
        assert way[1:-1] == tuple(stop for stop in way[1:-1] if stop.node == source)


def test_nodes_change_places_to_avoid_a_crossing() -> None:
    upside_down = Cell([[("skip_connect", 1)], [("skip_connect", 0)]], [2, 3])
    layout = place(upside_down)
    assert crossings(layout) == 0
    assert layout.depths[layout.nodes[3]] < layout.depths[layout.nodes[2]]


def test_a_chain_is_straight() -> None:
    layout = place(Cell([[("skip_connect", 0)], [("skip_connect", 2)], [("skip_connect", 3)]], [4]))
    chain = [layout.depths[layout.nodes[node]] for node in (0, 2, 3, 4, 5)]
    np.testing.assert_allclose(chain, chain[0], atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(npst.arrays(float, st.integers(1, 7), elements=st.floats(-10, 10)))
def test_nearest_ascending_is_isotonic_regression(values: np.ndarray) -> None:
    expected = isotonic_regression(values).x
    np.testing.assert_allclose(nearest_ascending(values), expected, atol=1e-6)
