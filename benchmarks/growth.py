"""Times search steps over batch, cells, channels, classes and pixels, and an evaluation over test images, with a plot.

Along each axis all other sizes stay as the flags have them. The exponent is the slope of log time over log size,
by least squares: at most 1 is expected of all axes but the channels, at most 2 there. Cells are multiples of 3, so that
reductions sit at the same shares of the depth. Test images are attacked by PGD-10. An axis of fewer than two sizes is
left out.
"""

import functools
import math
import statistics
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.program import Report, run
from benchmarks.tensorflow_side import constant_batches, make_search, random_batch, training_step
from benchmarks.timing import interleave, quartiles, timed
from racl_tf import GenotypeNetwork, attacks, evaluate

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 16, "The images of one batch along the other axes.")
flags.DEFINE_integer("cells", 3, "L along the other axes.")
flags.DEFINE_integer("channels", 16, "C along the other axes.")
flags.DEFINE_list("batches", ["8", "16", "32", "64"], "The axis of batches.")
flags.DEFINE_list("depths", ["3", "6", "9"], "The axis of cells.")
flags.DEFINE_list("widths", ["8", "16", "32"], "The axis of channels.")
flags.DEFINE_list("classes", ["10", "100", "1000"], "The axis of classes.")
flags.DEFINE_list("sides", ["8", "16", "32", "64"], "The sides of the images on the axis of pixels.")
flags.DEFINE_list("test_images", ["100", "1000", "10000"], "The axis of test images.")
flags.DEFINE_string("png", None, "The file for the plot; none without it.")
_COLUMNS = 3


def measure(report: Report) -> None:
    base = {"batch": FLAGS.batch, "cells": FLAGS.cells, "channels": FLAGS.channels, "classes": 10, "pixels": 32**2}
    given = {"batch": FLAGS.batches, "cells": FLAGS.depths, "channels": FLAGS.widths, "classes": FLAGS.classes}
    sizes = {axis: [int(size) for size in texts] for axis, texts in given.items()}
    sizes["pixels"] = [int(side) ** 2 for side in FLAGS.sides]
    axes = {axis: partial(along, search_step, axis, found, base) for axis, found in sizes.items() if len(found) > 1}
    if len(FLAGS.test_images) > 1:
        images = [int(size) for size in FLAGS.test_images]
        axes["test images"] = partial(along, evaluation, "images", images, {"channels": FLAGS.channels})
    rows = math.ceil(len(axes) / _COLUMNS)
    figure = Figure(figsize=(3.4 * _COLUMNS, 3 * rows), layout="constrained")
    for place, (axis, times) in enumerate(axes.items(), start=1):
        panel = figure.add_subplot(rows, _COLUMNS, place)
        seconds = times()
        for size, values in seconds.items():
            report.add(f"{axis} {size}", values, "s")
        turns = zip(*seconds.values(), strict=True)
        exponents = [exponent(list(seconds), list(turn)) for turn in turns]
        report.add(f"exponent of {axis}", exponents, "")
        draw(panel, axis, {size: statistics.median(values) for size, values in seconds.items()})
        panel.set_title(f"exponent {quartiles(exponents)[1]:.2f}")
        panel.set_ylabel("seconds" if axis == "test images" else "seconds a search step")
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


def along(
    make: Callable[..., Callable[[], object]], axis: str, sizes: list[int], base: Mapping[str, int]
) -> dict[int, list[float]]:
    """Returns the seconds of what is made for each size, all in turns."""
    named = interleave({str(size): timed(make(**{**base, axis: size})) for size in sizes}, FLAGS.repeats, warmups=1)
    return {size: named[str(size)] for size in sizes}


@functools.cache
def search_step(batch: int, cells: int, channels: int, classes: int, pixels: int) -> Callable[[], object]:
    shape = (math.isqrt(pixels), math.isqrt(pixels), 3)
    data = constant_batches((random_batch(batch, shape=shape), random_batch(batch, seed=1, shape=shape)))
    return training_step(make_search(channels, cells, classes=classes, shape=shape), data)


@functools.cache
def _network(channels: int) -> GenotypeNetwork:
    return GenotypeNetwork("racl", 10, channels=channels, cells=3, input_shape=(16, 16, 3))


def evaluation(images: int, channels: int) -> Callable[[], object]:
    """Returns an evaluation under PGD-10 at so small an eps that next to no image falls, and none saves steps."""
    network, attack = _network(channels), {"pgd10": attacks.pgd(1e-4, 1e-5, 10)}
    x, _ = random_batch(images, shape=(16, 16, 3))
    data = x.numpy(), np.argmax(network.predict(x, verbose=0), -1)
    return lambda: evaluate(network, data, attack, progress=False)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Returns the slope of ln(seconds) over ln(size).

    >>> round(exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
    2.0
    """
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(s) for s in seconds]).slope


if __name__ == "__main__":
    tiny = {"batch": 2, "cells": 1, "channels": 4, "batches": ["2", "4"], "depths": [], "widths": []}
    few = {"classes": ["10", "20"], "sides": ["8", "16"], "test_images": ["8", "16"]}
    run(measure, quick={**tiny, **few, "repeats": 2})
