"""Times a search step of several logical CPUs under a MirroredStrategy beside one without, of the same global batch.

All share the machine's cores, so whatever a step takes longer is the strategy's: more and smaller kernels, sums over
replicas, and waiting for each other. Each number of replicas has a process of its own.
"""

import sys

from absl import flags

from benchmarks.program import Report, run
from benchmarks.timing import Worker, interleave

FLAGS = flags.FLAGS
flags.DEFINE_list("replicas", ["1", "2", "4"], "The numbers of logical CPUs; others are compared with the first.")
flags.DEFINE_integer("batch", 32, "The images of one batch of all replicas.")
flags.DEFINE_integer("channels", 16, "C.")
flags.DEFINE_integer("cells", 3, "L.")


def measure(report: Report) -> None:
    size = {"subject": "replicas", "batch": FLAGS.batch, "channels": FLAGS.channels, "cells": FLAGS.cells}
    workers = {
        f"{count} replicas": Worker(sys.executable, "benchmarks.tensorflow_side", {**size, "replicas": int(count)})
        for count in FLAGS.replicas
    }
    for name, worker in workers.items():
        report.add(f"{name}, first call", [worker.measure("step")()], "s")
    seconds = interleave({name: worker.measure("step") for name, worker in workers.items()}, FLAGS.repeats)
    report.add_times(seconds)
    first, *others = seconds
    for name in others:
        report.add_ratio(f"{name} / {first}", seconds[name], seconds[first])
    for name, worker in workers.items():
        report.add(f"{name}, peak memory", [worker.peak_bytes() / 2**30], "GiB")
        worker.close()


if __name__ == "__main__":
    run(measure, quick={"replicas": ["1", "2"], "batch": 4, "channels": 4, "cells": 1, "repeats": 2})
