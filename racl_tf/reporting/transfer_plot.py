"""Accuracies under transferred attacks as a picture."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from racl_tf.reporting.style import picture_style

if TYPE_CHECKING:
    from racl_tf.evaluation.transfer import Transfer

_INCH_PER_CELL = 0.9


@picture_style()
def plot_transfer(transfer: Transfer, path: str | os.PathLike[str]) -> None:
    """Draws the accuracies in percent as a heat map: sources down, "clean" first, targets across.

    Arguments:
        transfer: the figures.
        path: of the picture; its suffix, .png, .svg or .pdf, decides the format.
    """
    sources, targets = list(transfer.num_robust), transfer.targets
    values = np.array([[100 * transfer.accuracy(source, target) for target in targets] for source in sources])
    size = 2.5 + _INCH_PER_CELL * len(targets), 1.2 + 0.6 * _INCH_PER_CELL * len(sources)
    figure = Figure(figsize=size)
    axes = figure.subplots()
    image = axes.imshow(values, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = "black" if value > 55 else "white"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink)
    axes.set_xticks(range(len(targets)), targets, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(sources)), sources)
    axes.set_xlabel("shown to")
    axes.set_ylabel("crafted on")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, label="accuracy (%)")
    figure.savefig(path)
