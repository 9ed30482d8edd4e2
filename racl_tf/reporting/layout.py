"""Where the parts of a drawn cell go: columns from left to right, depths that keep lines short.

A cell is drawn as a layered graph (Sugiyama, Tagawa and Toda, 1981): a node stands one column
to the right of its farthest source, and an output that is used farther on has a place of its
own, a lane, in every column that it passes, so that its line meets no node on the way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from racl_tf.space import INPUTS, Cell

_SWEEPS = 20


class Stop(NamedTuple):
    """A place on the way of a node's output: the node itself in its column, a lane in those to the right."""

    column: int
    node: int


Line = tuple[Stop, Stop]
"""The part of a way from one column to the next."""


@dataclass(frozen=True)
class Layout:
    """The places of a cell's nodes and lanes; the cell's output counts as the node after the last one."""

    nodes: dict[int, Stop]
    """Where each node stands."""
    ways: dict[tuple[int, int], tuple[Stop, ...]]
    """The stops from a node to one that uses it, both included."""
    depths: dict[Stop, float]
    """How far down the middle of each stop is."""
    extents: dict[Stop, float]
    """How high each stop is."""


def arrange(cell: Cell, sizes: Sequence[float], *, lane: float, gap: float) -> Layout:
    """Returns a layout of a cell with few crossings and short lines.

    Arguments:
        cell: the cell.
        sizes: the height of every node, inputs and output included.
        lane: the height of a lane.
        gap: the distance between neighbours in a column.
    """
    sources = {node: {edge.source for edge in edges} for node, edges in enumerate(cell.nodes, start=INPUTS)}
    nodes = {node: Stop(0, node) for node in range(INPUTS)}
    for node, used in sources.items():
        nodes[node] = Stop(1 + max(nodes[source].column for source in used), node)
    output = INPUTS + len(cell.nodes)
    sources[output] = set(cell.concat)
    nodes[output] = Stop(1 + max(nodes.values()).column, output)

    ways = {
        (source, node): (*(Stop(k, source) for k in range(nodes[source].column, nodes[node].column)), nodes[node])
        for node, used in sources.items()
        for source in used
    }
    stops = sorted({*nodes.values(), *(stop for way in ways.values() for stop in way)})
    lines = sorted({line for way in ways.values() for line in pairwise(way)})
    columns = _order([[stop for stop in stops if stop.column == k] for k in range(nodes[output].column + 1)], lines)
    extents = {stop: sizes[stop.node] if stop in nodes.values() else lane for stop in stops}
    return Layout(nodes, ways, _depths(columns, lines, extents, gap), extents)


def _order(columns: list[list[Stop]], lines: list[Line]) -> list[list[Stop]]:
    """Sorts columns by the mean rank of their neighbours, to and fro, and keeps the order with fewest crossings."""
    best = columns
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        neighbors = [(right, left) for left, right in lines] if forward else lines
        for k in range(len(columns)) if forward else reversed(range(len(columns))):
            wanted = _means(_ranks(columns), neighbors)
            columns = [*columns[:k], sorted(columns[k], key=wanted.__getitem__), *columns[k + 1 :]]
        best = min(best, columns, key=lambda each: _crossings(each, lines))
    return best


def _crossings(columns: list[list[Stop]], lines: list[Line]) -> int:
    rank = _ranks(columns)
    return sum(
        a.column == c.column and (rank[a] - rank[c]) * (rank[b] - rank[d]) < 0
        for (a, b), (c, d) in combinations(lines, 2)
    )


def _ranks(columns: list[list[Stop]]) -> dict[Stop, float]:
    return {stop: rank for column in columns for rank, stop in enumerate(column)}


def _depths(columns: list[list[Stop]], lines: list[Line], extents: dict[Stop, float], gap: float) -> dict[Stop, float]:
    """Moves every stop to the mean depth of its neighbours, or as near as those in its column let it."""
    neighbors = [*lines, *((right, left) for left, right in lines)]
    depths: dict[Stop, float] = {}
    packed = []
    for column in columns:
        steps = [(extents[above] + extents[below]) / 2 + gap for above, below in pairwise(column)]
        row = np.cumsum([-sum(steps) / 2, *steps])
        depths.update(zip(column, row, strict=True))
        packed.append((column, row))
    for _ in range(_SWEEPS):
        for column, row in packed:
            means = _means(depths, neighbors)
            moved = row + nearest_ascending(np.array([means[stop] for stop in column]) - row)
            depths.update(zip(column, moved, strict=True))
    return depths


def _means(values: dict[Stop, float], neighbors: Iterable[Line]) -> dict[Stop, float]:
    """Returns the mean value of each stop's neighbours, its own value where it has none."""
    found: dict[Stop, list[float]] = {}
    for stop, neighbor in neighbors:
        found.setdefault(stop, []).append(values[neighbor])
    return {stop: float(np.mean(found.get(stop, [value]))) for stop, value in values.items()}


def nearest_ascending(values: np.ndarray) -> np.ndarray:
    """Returns the non-descending values of least squared distance to the given ones.

    The i-th is the maximum over a <= i of the minimum over b >= i of the mean of values a to b.

    >>> nearest_ascending(np.array([1.0, 4.0, 2.0])).tolist()
    [1.0, 3.0, 3.0]
    """
    n = len(values)
    return np.array([max(min(values[a:b].mean() for b in range(i + 1, n + 1)) for a in range(i + 1)) for i in range(n)])
