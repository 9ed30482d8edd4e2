"""The course of a search as a picture."""

import os
import pathlib
from collections.abc import Sequence
from typing import IO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from racl_tf.files import read_json_lines, read_table
from racl_tf.reporting.style import picture_style
from racl_tf.space import CANDIDATES, EDGES, INPUTS, NODES, ZERO, Genotype
from racl_tf.space.operations import MOST_ENTROPY, MOST_ENTROPY_OF_EDGES

_CELLS = ("normal", "reduction")
_MOST = MOST_ENTROPY, MOST_ENTROPY_OF_EDGES


@picture_style(math=True)
def plot_search(history: pathlib.Path, steps: pathlib.Path, architecture: pathlib.Path, path: pathlib.Path) -> None:
    """Draws a search: how the weights learned, what became of the constraint, and what was chosen.

    Arguments:
        history: the table of `racl_tf.training.callbacks.HistoryFile`.
        steps: the table of `racl_tf.search.StepFile`.
        architecture: the lines of `racl_tf.search.ArchitectureLog`.
        path: of the picture (PNG, SVG or PDF).
    """
    epochs = read_table(history)
    entries = read_json_lines(architecture)
    warmup = sum(not row.get("architecture_loss") for row in epochs)
    figure = Figure(figsize=(14, 15))
    grid = figure.add_gridspec(4, 3, height_ratios=(1, 1, 1, 2.2))
    curves = [figure.add_subplot(grid[row, column]) for row in range(3) for column in range(3)]
    _draw_learning(curves[:2], epochs)
    _draw_constraint(curves[2:5], read_table(steps))
    _draw_architecture(curves[5:], entries)
    for axes in curves:
        axes.set_xlim(0, len(epochs))
        if warmup:
            axes.axvspan(0, warmup, color="0.94", zorder=0)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    for axes in curves[6:]:
        axes.set_xlabel("epoch (gray: warm-up)" if warmup else "epoch")
    for column, cell in enumerate(_CELLS):
        axes = figure.add_subplot(grid[3, column])
        _draw_weights(axes, np.array(entries[-1]["mu_alpha"][column]), np.array(entries[-1]["mu_beta"][column]))
        axes.set_title(f"{cell} cell: $\\mu_\\alpha + \\mu_\\beta$, less its node's mean")
    _draw_selection(figure.add_subplot(grid[3, 2]), [Genotype.from_text(entry["genotype"]) for entry in entries])
    figure.savefig(path)


@picture_style()
def plot_weights(alpha: np.ndarray, beta: np.ndarray, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Draws mu of alpha and beta of both cells as heat maps.

    Arguments:
        alpha: mu of operations, shape (2, 14, 8).
        beta: mu of edges, shape (2, 14).
        path: of the picture (PNG, SVG or PDF); an open file is written as PNG.
    """
    figure = Figure(figsize=(10, 5))
    for axes, cell, mu_alpha, mu_beta in zip(figure.subplots(1, 2), _CELLS, alpha, beta, strict=True):
        _draw_weights(axes, mu_alpha, mu_beta)
        axes.set_title(f"{cell} cell: $\\mu_\\alpha + \\mu_\\beta$, less its node's mean")
    figure.savefig(path)


def _column(rows: Sequence[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row.get(name) or "nan") for row in rows])


def _draw_learning(panels: Sequence[Axes], epochs: Sequence[dict[str, str]]) -> None:
    time = np.arange(1, len(epochs) + 1)
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        axes.plot(time, _column(epochs, name), marker=".", label="weights' half")
        axes.plot(time, _column(epochs, f"architecture_{name}"), marker=".", label="architecture's half")
        axes.set_title(f"{name} in training")


def _draw_constraint(panels: Sequence[Axes], steps: Sequence[dict[str, str]]) -> None:
    per_epoch = max(int(row["step"]) for row in steps)
    time = np.array([int(row["epoch"]) - 1 + int(row["step"]) / per_epoch for row in steps])
    mean, deviation, violation = (_column(steps, name) for name in ("mu_F", "sigma_F", "constraint"))
    panels[0].plot(time, mean, label="$\\mu_F \\pm \\sigma_F$")
    panels[0].fill_between(time, mean - deviation, mean + deviation, alpha=0.3)
    panels[0].plot(time, mean - violation, "--", color="0.4", label="$\\mu_F - c$, the target for it")
    panels[0].set_title("logarithm of the network's constant")
    for axes, values, title in (
        (panels[1], violation, "constraint $c$, wanted at most 0"),
        (panels[2], _column(steps, "theta"), "dual variable $\\theta$"),
    ):
        axes.axhline(0, color="0.7", linewidth=0.8)
        axes.plot(time, values)
        axes.set_title(title)
        if np.isnan(values).all():
            axes.text(0.5, 0.5, "no constraint", transform=axes.transAxes, ha="center", color="0.4")


def _draw_architecture(panels: Sequence[Axes], entries: Sequence[dict[str, float]]) -> None:
    time = [entry["epoch"] for entry in entries]
    moves = {"mu_alpha_common": "C0--", "mu_alpha_relative": "C0-", "mu_beta_common": "C1--", "mu_beta_relative": "C1-"}
    for axes, title, shown in (
        (panels[0], "nats by which $\\mu_F$ was lowered", {"reduction": "C0--", "reduction_by_choice": "C0-"}),
        (panels[1], "change of $\\mu$", moves),
        (panels[3], "share of choices kept and agreed on", {"choices_kept": "C0-", "draws_agree": "C1-"}),
    ):
        for name, style in shown.items():
            label = name.replace("_", " ").replace("mu alpha", "$\\mu_\\alpha$").replace("mu beta", "$\\mu_\\beta$")
            axes.plot(time, [entry.get(name, np.nan) for entry in entries], style, marker=".", label=label)
        axes.set_title(title)
    for name, most, style in zip(("alpha", "beta"), _MOST, ("C0-", "C1-"), strict=True):
        lost = [most - entry[f"entropy_{name}"] for entry in entries]
        panels[2].plot(time, lost, style, marker=".", label=f"of {name} (at most {most:.2f})")
    panels[2].set_title("entropy lost since the start (nats)")
    panels[3].set_ylim(0, 1.05)


def _draw_weights(axes: Axes, alpha: np.ndarray, beta: np.ndarray) -> None:
    """Draws the logarithms of weights of a cell, alpha (14, 8) and beta (14,), as a heat map."""
    values = np.delete(alpha, ZERO, -1) + beta[:, None]
    nodes = np.array([target for _, target in EDGES])
    for node in range(INPUTS, INPUTS + NODES):
        values[nodes == node] -= values[nodes == node].mean()
    limit = max(np.abs(values).max(), 1e-6)
    image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(CANDIDATES)), CANDIDATES, rotation=45, ha="right")
    _mark_edges(axes)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def _draw_selection(axes: Axes, genotypes: Sequence[Genotype]) -> None:
    """Draws which operation every edge was selected with after each epoch, normal cells above reduction cells."""
    chosen = np.full((2, len(EDGES), len(genotypes)), np.nan)
    for epoch, genotype in enumerate(genotypes):
        for kind, cell in enumerate((genotype.normal, genotype.reduce)):
            for node, edges in enumerate(cell.nodes, start=INPUTS):
                for operation, source in edges:
                    chosen[kind, EDGES.index((source, node)), epoch] = CANDIDATES.index(operation)
    colors = ListedColormap([f"C{index}" for index in range(len(CANDIDATES))])
    extent = (0.0, len(genotypes), 2 * len(EDGES) - 0.5, -0.5)
    axes.imshow(
        chosen.reshape(-1, len(genotypes)),
        cmap=colors,
        vmin=-0.5,
        vmax=len(CANDIDATES) - 0.5,
        aspect="auto",
        extent=extent,
    )
    axes.axhline(len(EDGES) - 0.5, color="0.2", linewidth=0.8)
    _mark_edges(axes, 2)
    axes.set_title("selected operations (above: normal cell)")
    axes.set_xlabel("epoch")
    handles = [axes.plot([], [], "s", color=f"C{index}", label=name)[0] for index, name in enumerate(CANDIDATES)]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)


def _mark_edges(axes: Axes, times: int = 1) -> None:
    names = [f"{source}\u2192{target}" for source, target in EDGES]
    axes.set_yticks(range(times * len(EDGES)), times * names, fontsize="small")
