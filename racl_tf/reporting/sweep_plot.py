"""Robust accuracy over the strength of an attack as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from racl_tf.errors import UsageError
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.reporting.style import picture_style
from racl_tf.tables import format_radius

if TYPE_CHECKING:
    from racl_tf.evaluation.sweep import Sweep

_APART = 2.5  # points between neighbouring curves
_AXES = {"eps": "radius of the ball, in units of pixels in [0, 1]", "steps": "steps of the attack"}


@picture_style()
def plot_sweeps(sweeps: Mapping[str, Sweep], path: str | os.PathLike[str], *, title: str = "") -> None:
    """Draws robust accuracies over eps or steps with their 95% intervals, curves a little beside one another.

    Curves over eps begin at 0 with the clean accuracy.

    Arguments:
        sweeps: the curves by name, all over eps or all over steps; steps are drawn on a logarithmic axis.
        path: of the picture; its suffix, .png, .svg or .pdf, decides the format.
        title: what was swept, and on which images.

    Raises:
        UsageError: there are no curves, or not all are over the same.
    """
    kinds = {sweep.over for sweep in sweeps.values()}
    if len(kinds) != 1:
        received = ", ".join(sorted(kinds)) or "none"
        raise UsageError(f"Curves must all be over eps or all over steps, one at least. Received: {received}.")
    (over,) = kinds
    figure = Figure(figsize=(7.5, 4))
    axes, highest = figure.subplots(), 0.0
    if over == "steps":
        axes.set_xscale("log")
    for index, (name, sweep) in enumerate(sweeps.items()):
        right = _APART * (index - (len(sweeps) - 1) / 2) / 72  # in inches, so that equal curves do not hide each other
        place = axes.transData + ScaledTranslation(right, 0, figure.dpi_scale_trans)
        values, counts = _points(sweep)
        accuracies = np.array(counts) / sweep.images
        intervals = [wilson_interval(count, sweep.images) for count in counts]
        ends = np.abs(np.transpose(intervals) - accuracies)
        axes.errorbar(values, accuracies, ends, marker=".", label=name, elinewidth=1, transform=place)
        highest = max(highest, *(high for _, high in intervals))
    values = sorted({value for sweep in sweeps.values() for value in _points(sweep)[0]})
    axes.set_xticks(values)
    first, last = (values[0] * 0.8, values[-1] * 1.25) if over == "steps" else _widened(values[0], values[-1])
    axes.set_xlim(first, last)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: format_radius(value) if over == "eps" else f"{value:g}")
    )
    axes.set_title(title)
    axes.set_ylim(0, min(1.05 * highest, 1.02) or 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel(_AXES[over])
    axes.set_ylabel("robust accuracy")
    figure.legend(loc="outside right upper")
    figure.savefig(path)


def _points(sweep: Sweep) -> tuple[list[float], list[int]]:
    """Returns the values that are drawn, and how many images are robust at each."""
    clean = ([0.0], [sweep.clean]) if sweep.over == "eps" else ([], [])
    return [*clean[0], *sweep.values], [*clean[1], *sweep.num_robust]


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.1 * high
    return low - margin, high + margin
