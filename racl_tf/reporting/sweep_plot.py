"""Robust accuracy over the strength of an attack as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from racl_tf.errors import UsageError

if TYPE_CHECKING:
    from racl_tf.evaluation.sweep import Sweep

_AXES = {"eps": "radius of the ball, in units of pixels in [0, 1]", "steps": "steps of the attack"}


def plot_sweeps(sweeps: Mapping[str, Sweep], path: str | os.PathLike[str]) -> None:
    """Draws robust accuracies over eps or steps, each curve in the band of its 95% intervals.

    Arguments:
        sweeps: the curves by name, all over eps or all over steps; steps are drawn on a logarithmic axis.
        path: of the picture; its suffix, .png, .svg or .pdf, decides the format.

    Raises:
        UsageError: there are no curves, or not all are over the same.
    """
    kinds = {sweep.over for sweep in sweeps.values()}
    if len(kinds) != 1:
        received = ", ".join(sorted(kinds)) or "none"
        raise UsageError(f"Curves must all be over eps or all over steps, one at least. Received: {received}.")
    (over,) = kinds
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, sweep in sweeps.items():
        low, high = np.transpose(sweep.intervals)
        (line,) = axes.plot(sweep.values, sweep.accuracies, marker=".", label=name)
        axes.fill_between(sweep.values, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    if over == "steps":
        axes.set_xscale("log")
    axes.set_xticks(sorted({value for sweep in sweeps.values() for value in sweep.values}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(_AXES[over])
    axes.set_ylabel("robust accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
