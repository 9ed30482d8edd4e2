"""Times search steps on real, augmented CIFAR-10 batches beside steps on one constant batch.

Both run the same compiled step. They take turns by blocks of steps: the pipeline prepares some batches ahead, and
blocks must be long beside that, or its work would fall into the other's turn. What the pipeline
takes to produce a batch when nothing else runs is measured too.
"""

from functools import partial

import numpy as np
from absl import flags

from benchmarks.program import Report, run
from benchmarks.tensorflow_side import constant_batches, make_search
from benchmarks.timing import interleave, timed
from racl_tf.data import ImageSet, augmentation_for, load_dataset, search_batches, split_halves

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "The TFDS folder of CIFAR-10; without it images are random, of the same size.")
flags.DEFINE_integer("batch", 64, "The images of one batch.")
flags.DEFINE_integer("channels", 16, "C.")
flags.DEFINE_integer("cells", 8, "L.")
flags.DEFINE_integer("block", 10, "The steps of one turn.", lower_bound=1)


def training_images() -> ImageSet:
    if FLAGS.data_dir:
        return load_dataset("cifar10", data_dir=FLAGS.data_dir).train
    numbers = np.random.default_rng(0)
    count = 20 * FLAGS.batch
    images = numbers.integers(256, size=[count, 32, 32, 3], dtype=np.uint8)
    return ImageSet(images, (np.arange(count) % 10).astype(np.int32))


def measure(report: Report) -> None:
    halves = split_halves(training_images(), seed=0)
    real = search_batches(*halves, FLAGS.batch, seed=0, augmentation=augmentation_for("cifar10"))
    search = make_search(FLAGS.channels, FLAGS.cells)
    search.make_train_function()
    streams = {"augmented batches": iter(real), "constant batch": iter(constant_batches(next(iter(real))))}

    def block(name: str) -> None:
        for _ in range(FLAGS.block):
            search.train_function(streams[name])

    seconds = interleave({name: timed(partial(block, name)) for name in streams}, FLAGS.repeats, warmups=1)
    for name, values in seconds.items():
        report.add(f"step, {name}", [value / FLAGS.block for value in values], "s")
    report.add_ratio("augmented / constant", seconds["augmented batches"], seconds["constant batch"])

    batches = iter(real)
    produced = interleave({"": timed(lambda: [next(batches) for _ in range(FLAGS.block)])}, FLAGS.repeats)[""]
    report.add("producing a batch of each half, alone", [value / FLAGS.block for value in produced], "s")


if __name__ == "__main__":
    run(measure, quick={"batch": 4, "channels": 4, "cells": 1, "block": 2, "repeats": 2})
