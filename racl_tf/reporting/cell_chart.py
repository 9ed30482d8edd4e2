"""A cell as a narrow drawing: every node has a vertical line, from which the operations of later nodes branch off."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from racl_tf.reporting.charts import COLORS, WIDTH
from racl_tf.space import INPUTS, Cell

_ROW, _RAIL, _FIRST, _BOX, _WIDE, _NODE = 27.0, 17.0, 16.0, 138.0, 116.0, 306.0
_KINDS = {"max": 1, "avg": 1, "skip": 6, "sep": 0, "dil": 2, "conv": 3}


def draw_cell_chart(cell: Cell, title: str) -> Markup:
    """Returns the drawing of a cell as inline SVG, as wide as a phone.

    Time runs down. The inputs c_{k-2} and c_{k-1} and each node have a line of their own colour; a dot on it begins
    an edge, whose operation is in the box; the edges of a node are summed in its circle.

    Arguments:
        cell: the cell.
        title: what it is, for those who cannot see it.
    """
    output = INPUTS + len(cell.nodes)
    heights = dict.fromkeys(range(INPUTS), 24.0)  # where each node's line begins
    y, rows = 50.0, []
    for node, edges in enumerate(cell.nodes, start=INPUTS):
        places = [y + _ROW * row for row in range(len(edges))]
        heights[node] = places[-1] + _ROW / 2 + 4
        rows.append((node, list(zip(edges, places, strict=True))))
        y = places[-1] + _ROW + 14
    end = y + 6
    last = dict.fromkeys(range(output), 0.0)
    for _, placed in rows:
        for edge, place in placed:
            last[edge.source] = max(last[edge.source], place)
    last |= dict.fromkeys(cell.concat, end)
    rails = [_FIRST + _RAIL * node for node in range(output)]
    parts = [
        f'<path class="rail" style="stroke:{_color(node)}" d="M{rails[node]} {heights[node]:.1f}V{last[node]:.1f}"/>'
        for node in range(output)
        if last[node] > heights[node]
    ]
    for node, placed in rows:
        middle = (placed[0][1] + placed[-1][1]) / 2
        for edge, place in placed:
            style = f'style="stroke:{_color(edge.source)}"'
            center, kind = _BOX + _WIDE / 2, _KINDS.get(edge.operation.split("_")[0], 5)
            parts.append(
                f'<path class="rail" {style} d="M{rails[edge.source]} {place:.1f}H{_BOX}"/>'
                f'<circle style="fill:{_color(edge.source)}" cx="{rails[edge.source]}" cy="{place:.1f}" r="4"/>'
                f'<path class="join" d="M{_BOX + _WIDE} {place:.1f}C{_BOX + _WIDE + 26} {place:.1f} {_NODE - 34} '
                f'{middle:.1f} {_NODE} {middle:.1f}"/>'
                f'<rect class="op" style="fill:var(--c{kind})" x="{_BOX}" '
                f'y="{place - 10:.1f}" width="{_WIDE}" height="20" rx="10"/>'
                f'<text text-anchor="middle" x="{center}" y="{place + 4:.1f}">{escape(_words(edge.operation))}</text>'
            )
        down = heights[node]
        parts.append(
            f'<path class="rail" style="stroke:{_color(node)}" d="M{_NODE} {middle:.1f}V{down:.1f}H{rails[node]}"/>'
            f'<circle style="fill:{_color(node)}" cx="{_NODE}" cy="{middle:.1f}" r="11"/>'
            f'<text class="over" text-anchor="middle" x="{_NODE}" y="{middle + 4:.1f}">{node}</text>'
        )
    for node, name in enumerate(("k−2", "k−1")):
        x = rails[node] - 2 + 30 * node
        parts.append(f'<text class="tick" x="{x - 12:.1f}" y="12">c<tspan dy="3">{name}</tspan></text>')
    parts.append(
        f'<path class="join" d="M{rails[min(cell.concat)]} {end:.1f}H{_BOX}"/>'
        + "".join(
            f'<circle style="fill:{_color(node)}" cx="{rails[node]}" cy="{end:.1f}" r="4"/>' for node in cell.concat
        )
        + f'<rect class="out" x="{_BOX}" y="{end - 10:.1f}" width="{_WIDE}" height="20" rx="10"/>'
        f'<text text-anchor="middle" x="{_BOX + _WIDE / 2}" y="{end + 4:.1f}">concat, c<tspan dy="3">k</tspan></text>'
    )
    height = end + 16
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {height:.0f}" role="img" aria-label="{escape(title)}: {escape(str(cell))}">'
        f"{''.join(parts)}</svg>"
    )


def _color(node: int) -> str:
    return f"var(--c{node % COLORS})"


def _words(operation: str) -> str:
    words = operation.replace("_connect", "").replace("_", " ")
    return re.sub(r"(?<=\d)x(?=\d)", "×", words)
