"""Times search steps on augmented CIFAR-10 batches, in memory and from a file, beside steps on one constant batch.

All run the same compiled step. They take turns by blocks of steps: the pipeline prepares some batches ahead, and
blocks must be long beside that, or its work would fall into the other's turn. What the pipeline
takes to produce a batch when nothing else runs is measured too.
"""

import pathlib
import tempfile
from functools import partial

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.program import Report, run
from benchmarks.tensorflow_side import constant_batches, make_search
from benchmarks.timing import interleave, timed
from racl_tf.data import augmentation_for, load_dataset, search_batches, split_halves

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "The TFDS folder of CIFAR-10; without it images are random, of the same size.")
flags.DEFINE_integer("batch", 64, "The images of one batch.")
flags.DEFINE_integer("channels", 16, "C.")
flags.DEFINE_integer("cells", 8, "L.")
flags.DEFINE_integer("block", 10, "The steps of one turn.", lower_bound=1)


def augmented_batches(folder: pathlib.Path, *, in_memory: bool) -> tf.data.Dataset:
    name, source = "cifar10", {"data_dir": FLAGS.data_dir}
    if not FLAGS.data_dir:
        numbers, count, name, source = np.random.default_rng(0), 20 * FLAGS.batch, str(folder / "random.npz"), {}
        pixels = numbers.integers(256, size=[count, 32, 32, 3], dtype=np.uint8)
        np.savez(name, x=pixels, y=(np.arange(count) % 10).astype(np.int32))
    images = load_dataset(name, in_memory=in_memory, cache_dir=folder / "cache", **source).train
    return search_batches(*split_halves(images, seed=0), FLAGS.batch, seed=0, augmentation=augmentation_for("cifar10"))


def measure(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        measure_in(pathlib.Path(folder), report)


def measure_in(folder: pathlib.Path, report: Report) -> None:
    real = augmented_batches(folder, in_memory=True)
    search = make_search(FLAGS.channels, FLAGS.cells)
    search.make_train_function()
    streams = {
        "augmented batches": iter(real),
        "augmented batches from a file": iter(augmented_batches(folder, in_memory=False)),
        "constant batch": iter(constant_batches(next(iter(real)))),
    }

    def block(name: str) -> None:
        for _ in range(FLAGS.block):
            search.train_function(streams[name])

    seconds = interleave({name: timed(partial(block, name)) for name in streams}, FLAGS.repeats, warmups=1)
    for name, values in seconds.items():
        report.add(f"step, {name}", [value / FLAGS.block for value in values], "s")
    report.add_ratio("augmented / constant", seconds["augmented batches"], seconds["constant batch"])
    report.add_ratio("from a file / in memory", seconds["augmented batches from a file"], seconds["augmented batches"])

    batches = iter(real)
    produced = interleave({"": timed(lambda: [next(batches) for _ in range(FLAGS.block)])}, FLAGS.repeats)[""]
    report.add("producing a batch of each half, alone", [value / FLAGS.block for value in produced], "s")


if __name__ == "__main__":
    run(measure, quick={"batch": 4, "channels": 4, "cells": 1, "block": 2, "repeats": 2})
