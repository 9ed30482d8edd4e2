"""Times a genotype's network, forward and in training, beside the same network of PC-DARTS's code in PyTorch."""

from absl import flags

from benchmarks import sides
from benchmarks.program import Report, run
from benchmarks.timing import interleave
from racl_tf.space import get_genotype

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(sides)
flags.DEFINE_string("genotype", "racl", "A published architecture.")
flags.DEFINE_integer("batch", 32, "The images of one batch.")
flags.DEFINE_integer("channels", 36, "C.")
flags.DEFINE_integer("cells", 20, "L.")


def measure(report: Report) -> None:
    size = {"subject": "network", "batch": FLAGS.batch, "channels": FLAGS.channels, "cells": FLAGS.cells}
    theirs = {**size, "genotype": sides.for_pytorch(get_genotype(FLAGS.genotype))}
    workers = sides.start(report, ours={**size, "genotype": FLAGS.genotype}, theirs=theirs)
    for action in ("forward", "step"):
        seconds = interleave({side: worker.measure(action) for side, worker in workers.items()}, FLAGS.repeats)
        report.add_times(seconds, f", {action}")
        if sides.THEIRS in workers:
            report.add_ratio(f"ours / {sides.THEIRS}, {action}", seconds["ours"], seconds[sides.THEIRS])
    for side, worker in workers.items():
        report.add(f"{side}, peak memory", [worker.peak_bytes() / 2**30], "GiB")
        worker.close()


if __name__ == "__main__":
    run(measure, quick={"batch": 4, "channels": 4, "cells": 1, "repeats": 2})
