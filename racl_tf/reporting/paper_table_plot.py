"""Our figures beside the paper's as a picture."""

import os
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from racl_tf.errors import UsageError
from racl_tf.reporting.paper_table import PaperTable, in_percent
from racl_tf.reporting.style import BLUE, GROUND, ORANGE, picture_style

_OURS: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 5.5, "linewidth": 2.2}
_PAPER: dict[str, Any] = {
    "color": ORANGE,
    "marker": "o",
    "markersize": 8.5,
    "fillstyle": "none",
    "markeredgewidth": 1.4,
}
_LEAST_SPAN = 10.0  # percentage points, so that a difference of a tenth of a point does not look like much


@picture_style()
def plot_paper_table(table: PaperTable, path: str | os.PathLike[str]) -> None:
    """Draws a panel for each column of percentages: our figures as dots in their intervals, the paper's as rings.

    Panels side by side have one range of percentages; a column in another unit is left out.

    Arguments:
        table: the figures.
        path: of the picture; its suffix, .png, .svg or .pdf, decides the format.

    Raises:
        UsageError: no column is in percent.
    """
    lines = [[column for column in block if in_percent(column)] for block in table.blocks]
    lines = [line for line in lines if line]
    if not lines:
        raise UsageError(f"No column is in percent, so nothing can be drawn. Received: {', '.join(table.columns)}.")
    widest = max(map(len, lines))
    names = 0.085 * max(map(len, table.rows), default=0)
    width = max(names + 2 * widest, 5)
    height = len(lines) * (0.27 * len(table.rows) + 0.8) + 0.7
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.03))
    grid = figure.subplots(len(lines), widest, sharey=True, squeeze=False)
    for line, panels in zip(lines, grid, strict=True):
        span = _range(_values(table, line))
        for column, axes in zip(line, panels, strict=False):
            _draw_column(axes, table, column, span)
        for axes in panels[len(line) :]:
            axes.remove()
    title = textwrap.fill(table.title, int(width * 9))
    figure.suptitle(title, x=0.01, ha="left", size=12, weight="bold", parse_math=False)
    handles = [Line2D([], [], **_OURS, label="ours, 95% interval"), Line2D([], [], **_PAPER, ls="", label="paper")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.savefig(path)


def _values(table: PaperTable, columns: Sequence[str]) -> list[float]:
    """Returns all figures of some columns, ours with the ends of their intervals and the paper's."""
    ours = [figure for (_, column), figure in table.measured.items() if column in columns]
    ends = [end for figure in ours for end in (figure.value, *(figure.interval or ()))]
    return [*ends, *(figure for (_, column), figure in table.published.items() if column in columns)]


def _draw_column(axes: Axes, table: PaperTable, column: str, span: tuple[float, float]) -> None:
    for depth, row in enumerate(table.rows):
        if (ours := table.measured.get((row, column))) is not None:
            if ours.interval:
                axes.plot(ours.interval, (depth, depth), color=_OURS["color"], linewidth=_OURS["linewidth"], alpha=0.55)
            axes.plot(ours.value, depth, **_OURS)
        if (paper := table.published.get((row, column))) is not None:
            axes.plot(paper, depth, **_PAPER)
    low, high = span
    margin = 0.1 * (high - low)
    ticks = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], integer=True).tick_values(low, high)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.set_ylim(len(table.rows) - 0.5, -0.5)
    axes.set_yticks(range(len(table.rows)), table.rows, parse_math=False)
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.set_title(column, parse_math=False)
    axes.tick_params(length=0, labelsize=9)
    axes.set_facecolor(GROUND)
    axes.grid(color="white", linewidth=1.2)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _range(values: list[float]) -> tuple[float, float]:
    """Returns the range that holds all values, within 0 to 100 and `_LEAST_SPAN` wide at least.

    >>> _range([49.0, 51.0]), _range([0.0, 4.0]), _range([20.0, 84.0])
    ((45.0, 55.0), (0.0, 10.0), (20.0, 84.0))
    """
    low, high = (min(values), max(values)) if values else (0.0, 100.0)
    half = max(high - low, _LEAST_SPAN) / 2
    middle = min(max((low + high) / 2, half), 100 - half)
    return middle - half, middle + half
