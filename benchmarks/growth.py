"""Times search steps over batch, cells and channels: how cost grows, as exponents, with a plot.

Along each axis all other sizes stay as the flags have them. The exponent is the slope of log time over log size,
by least squares: at most 1 is expected for batch and cells, at most 2 for channels. Cells are multiples of 3, so that
reductions sit at the same shares of the depth. An axis of fewer than two sizes is left out.
"""

import functools
import math
import statistics
from collections.abc import Callable, Mapping

from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.program import Report, run
from benchmarks.tensorflow_side import constant_batches, make_search, random_batch, training_step
from benchmarks.timing import interleave, quartiles, timed

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 16, "The images of one batch along the other axes.")
flags.DEFINE_integer("cells", 3, "L along the other axes.")
flags.DEFINE_integer("channels", 16, "C along the other axes.")
flags.DEFINE_list("batches", ["8", "16", "32", "64"], "The axis of batches.")
flags.DEFINE_list("depths", ["3", "6", "9"], "The axis of cells.")
flags.DEFINE_list("widths", ["8", "16", "32"], "The axis of channels.")
flags.DEFINE_string("png", None, "The file for the plot; none without it.")


def measure(report: Report) -> None:
    base = {"batch": FLAGS.batch, "cells": FLAGS.cells, "channels": FLAGS.channels}
    figure = Figure(figsize=(9, 3), layout="constrained")
    given = {"batch": FLAGS.batches, "cells": FLAGS.depths, "channels": FLAGS.widths}
    axes = {axis: sizes for axis, sizes in given.items() if len(sizes) > 1}
    panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    for panel, (axis, sizes) in zip(panels, axes.items(), strict=True):
        seconds = times_along(axis, [int(size) for size in sizes], base)
        for size, values in seconds.items():
            report.add(f"{axis} {size}", values, "s")
        turns = zip(*seconds.values(), strict=True)
        exponents = [exponent(list(seconds), list(turn)) for turn in turns]
        report.add(f"exponent of {axis}", exponents, "")
        draw(panel, axis, {size: statistics.median(values) for size, values in seconds.items()})
        panel.set_title(f"exponent {quartiles(exponents)[1]:.2f}")
    panels[0].set_ylabel("seconds a search step")
    if FLAGS.png:
        figure.savefig(FLAGS.png, dpi=150)


def draw(panel: Axes, axis: str, seconds: Mapping[int, float]) -> None:
    """Draws seconds over sizes, both logarithmic, with a tick at each size."""
    panel.loglog(list(seconds), list(seconds.values()), "o-")
    panel.set_xlabel(axis)
    panel.set_xticks(list(seconds))
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for direction in (panel.xaxis, panel.yaxis):
        direction.set_major_formatter("{x:g}")
        direction.set_minor_locator(NullLocator())


def times_along(axis: str, sizes: list[int], base: dict[str, int]) -> dict[int, list[float]]:
    """Returns the seconds of steps by size, all sizes in turns."""
    named = interleave({str(size): timed(search_step(**{**base, axis: size})) for size in sizes}, FLAGS.repeats)
    return {size: named[str(size)] for size in sizes}


@functools.cache
def search_step(batch: int, cells: int, channels: int) -> Callable[[], object]:
    data = constant_batches((random_batch(batch), random_batch(batch, seed=1)))
    return training_step(make_search(channels, cells), data)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Returns the slope of ln(seconds) over ln(size).

    >>> round(exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
    2.0
    """
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(s) for s in seconds]).slope


if __name__ == "__main__":
    tiny = {"batch": 2, "cells": 1, "channels": 4, "batches": ["2", "4"], "depths": [], "widths": []}
    run(measure, quick={**tiny, "repeats": 2})
