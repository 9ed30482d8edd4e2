"""The course of a search as a picture."""

import json
import pathlib

import numpy as np
from matplotlib.figure import Figure

from racl_tf.files import read_table


def plot_search(steps: pathlib.Path, architecture: pathlib.Path, path: pathlib.Path) -> None:
    """Draws how constraint and dual moved at every step and how the architecture did at every epoch.

    Arguments:
        steps: the table of `racl_tf.search.StepFile`.
        architecture: the lines of `racl_tf.search.ArchitectureLog`.
        path: of the picture (PNG, SVG or PDF).
    """
    rows = read_table(steps)
    entries = [json.loads(line) for line in architecture.read_text().splitlines()]
    epochs = [entry["epoch"] for entry in entries]
    per_epoch = max(int(row["step"]) for row in rows)
    time = [int(row["epoch"]) - 1 + int(row["step"]) / per_epoch for row in rows]

    def column(name: str) -> np.ndarray:
        return np.array([float(row.get(name) or "nan") for row in rows])

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True).ravel()
    mean, deviation = column("mu_F"), column("sigma_F")
    axes[0].plot(time, mean)
    axes[0].fill_between(time, mean - deviation, mean + deviation, alpha=0.3)
    axes[0].plot(time, mean - column("constraint"), "--", color="0.5")
    axes[0].set_title("$\\mu_F \\pm \\sigma_F$ (log constant), dashed: $\\mu_F - c$")
    for axis, name, title in (
        (axes[1], "constraint", "constraint $c$, wanted at most 0"),
        (axes[2], "theta", "dual variable $\\theta$"),
    ):
        axis.plot(time, column(name))
        axis.axhline(0, color="0.7", linewidth=0.8)
        axis.set_title(title)
    for axis, title, names in (
        (axes[3], "change of $\\mu$", ("mu_alpha_common", "mu_alpha_relative", "mu_beta_common", "mu_beta_relative")),
        (axes[4], "entropy of the medians (nats)", ("entropy_alpha", "entropy_beta")),
        (axes[5], "share of zero and skip", ("share_zero", "share_skip")),
    ):
        for name in names:
            axis.plot(epochs, [entry[name] for entry in entries], marker=".", label=name.replace("_", " "))
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
