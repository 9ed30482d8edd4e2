"""A genotype as a picture, drawn with matplotlib and without its global state."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from racl_tf.reporting.layout import Layout, arrange
from racl_tf.space import INPUTS, Cell, Edge, Genotype

_Point = tuple[float, float]

# The fill of an operation by the first word of its name; the colour of a node and of the lines from it.
_FILLS = {"max": "#fde8cf", "avg": "#fde8cf", "skip": "#ededed", "sep": "#dbe8f6", "dil": "#d6eee1", "conv": "#e9e0f3"}
_OTHER = "#f7d9d9"  # the fill of an operation of another kind
_COLORS = ("#4e79a7", "#e1812c", "#3a923a", "#c03d3e", "#8a63ad", "#845b53", "#d16ba5", "#777777")
_INK = "#222222"
_PAPER = "#ffffff"

# Lengths, in inches.
_END = 0.62
_OPERATION = 1.08
_JOIN = 0.3
_SUM = 0.32
_NODE = _OPERATION + _JOIN + _SUM
_SPACE = 1.0
_BOX = 0.26
_ROW = 0.36
_LANE = 0.04
_GAP = 0.2
_TITLE = 0.5
_MARGIN = 0.25


def draw_genotype(genotype: Genotype, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Draws both cells from left to right: inputs, the operations on them, the nodes that sum these, the output.

    A line has the colour of the node that it comes from. Nodes have the numbers of the text form and of JSON: 0 and 1
    are the inputs, from the cell before last and from the last.

    Arguments:
        genotype: the genotype.
        path: the file to write; its suffix, .png, .svg or .pdf, decides the format. An open file is written as PNG.
    """
    prefix = f"{genotype.name}: " if genotype.name else ""
    pictures = [
        _Picture.of(genotype.normal, f"{prefix}normal cell"),
        _Picture.of(genotype.reduce, f"{prefix}reduction cell"),
    ]
    width = max(picture.width for picture in pictures) + 2 * _MARGIN
    height = sum(picture.height for picture in pictures) + 2 * _MARGIN
    figure = Figure(figsize=(width, height), facecolor=_PAPER)
    floor = height - _MARGIN
    for picture in pictures:
        floor -= picture.height
        frame = (_MARGIN / width, floor / height, picture.width / width, picture.height / height)
        picture.draw(figure.add_axes(frame))
    figure.savefig(path, dpi=160)


@dataclass(frozen=True)
class _Picture:
    """A cell with the places of its parts; a unit is an inch, and y points down."""

    cell: Cell
    title: str
    layout: Layout
    width: float
    top: float
    bottom: float

    @classmethod
    def of(cls, cell: Cell, title: str) -> Self:
        sizes = [_BOX] * INPUTS + [len(edges) * _ROW for edges in cell.nodes] + [_BOX]
        layout = arrange(cell, sizes, lane=_LANE, gap=_GAP)
        return cls(
            cell,
            title,
            layout,
            width=_left(max(layout.nodes.values()).column) + _END,
            top=min(depth - layout.extents[stop] / 2 for stop, depth in layout.depths.items()) - _TITLE,
            bottom=max(depth + layout.extents[stop] / 2 for stop, depth in layout.depths.items()) + _GAP,
        )

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def draw(self, axes: Axes) -> None:
        axes.set(xlim=(0, self.width), ylim=(self.bottom, self.top))
        axes.set_axis_off()
        axes.text(
            0, self.top + _TITLE / 2, self.title, size=13, weight="bold", color=_INK, va="center", parse_math=False
        )
        for node, label in enumerate(("$c_{k-2}$", "$c_{k-1}$")):
            _draw_box(axes, self._place(node), _END, label, edge=_color(node))
        for node, edges in enumerate(self.cell.nodes, start=INPUTS):
            self._draw_node(axes, node, edges)
        output = INPUTS + len(self.cell.nodes)
        for node in self.cell.concat:
            self._draw_way(axes, node, output, self._place(output))
        _draw_box(axes, self._place(output), _END, "$c_{k}$", edge=_INK)

    def _draw_node(self, axes: Axes, node: int, edges: Sequence[Edge]) -> None:
        x, y = self._place(node)
        center = (x + _OPERATION + _JOIN, y)
        by_origin = sorted(edges, key=lambda edge: self.layout.depths[self.layout.ways[edge.source, node][-2]])
        for row, (operation, source) in enumerate(by_origin):
            middle = y + (row - (len(edges) - 1) / 2) * _ROW
            label = re.sub(r"(?<=\d)x(?=\d)", "×", operation.replace("_connect", "").replace("_", " "))
            self._draw_way(axes, source, node, (x, middle))
            _draw_line(axes, [(x + _OPERATION, middle), center], _INK)
            _draw_box(axes, (x, middle), _OPERATION, label, fill=_FILLS.get(operation.split("_")[0], _OTHER))
        _draw_box(axes, center, _SUM, str(node), fill=_color(node), ink=_PAPER)

    def _draw_way(self, axes: Axes, source: int, target: int, end: _Point) -> None:
        corners = []
        for stop in self.layout.ways[source, target][:-1]:
            left, y = _left(stop.column), self.layout.depths[stop]
            corners += [(left, y), (left + (_NODE if stop.column else _END), y)]
        _draw_line(axes, [*corners[1:], end], _color(source))

    def _place(self, node: int) -> _Point:
        """Returns the middle of a node's left side."""
        stop = self.layout.nodes[node]
        return _left(stop.column), self.layout.depths[stop]


def _left(column: int) -> float:
    return _END + _SPACE + (column - 1) * (_NODE + _SPACE) if column else 0.0


def _color(node: int) -> str:
    return _COLORS[node % len(_COLORS)]


def _draw_box(
    axes: Axes, left: _Point, width: float, text: str, *, fill: str = _PAPER, edge: str = "none", ink: str = _INK
) -> None:
    x, y = left
    style = f"round,pad=0,rounding_size={_BOX / 2}"
    axes.add_patch(
        FancyBboxPatch((x, y - _BOX / 2), width, _BOX, style, fc=fill, ec=edge, lw=1.5, zorder=2, clip_on=False)
    )
    axes.text(x + width / 2, y, text, size=9.5, color=ink, ha="center", va="center_baseline", zorder=3)


def _draw_line(axes: Axes, corners: Sequence[_Point], color: str) -> None:
    """Draws a line that leaves and meets every corner horizontally."""
    vertices, codes = [corners[0]], [Path.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(corners):
        middle = (x + to_x) / 2
        vertices += [(middle, y), (middle, to_y), (to_x, to_y)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(PathPatch(Path(vertices, codes), fc="none", ec=color, lw=1.4, zorder=1))
