"""The course of a training as a picture."""

import os
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from racl_tf.reporting.style import picture_style


@picture_style()
def plot_training(history: Sequence[dict[str, str]], path: str | os.PathLike[str]) -> None:
    """Draws losses and accuracies by epoch, in training and on held-out images, clean and attacked.

    Arguments:
        history: a row of figures by name for each epoch, as `racl_tf.training.callbacks.HistoryFile` writes them.
        path: of the picture; its suffix, .png, .svg or .pdf, decides the format.
    """
    epochs = [int(row["epoch"]) for row in history]
    figure = Figure(figsize=(9, 3.5))
    for axes, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        shown = {"training": title, "held out": f"val_{title}", "held out, attacked": f"val_robust_{title}"}
        for label, name in shown.items():
            if all(row.get(name) for row in history):
                axes.plot(epochs, [float(row[name]) for row in history], marker=".", label=label)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.savefig(path)
