"""Times what a user waits for: importing racl_tf, a program's --help, and the first step of a search.

Each is a fresh process. Imports are timed inside of it, after TensorFlow and Keras have been imported.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial

from absl import flags

from benchmarks.program import Report, run
from benchmarks.timing import ROOT, Worker, interleave, timed

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "programs", ["quickstart", "search", "train", "evaluate", "sweep", "transfer", "export"], "Whose --help is timed."
)
flags.DEFINE_integer("batch", 64, "The images of the first search step.")
flags.DEFINE_integer("channels", 16, "C of the first search step.")
flags.DEFINE_integer("cells", 8, "L of the first search step.")

BASE, OURS = "import tensorflow, keras", "import racl_tf, after them"
FIRST_STEP = "start of Python to end of first search step"
IMPORTS = {
    BASE: ("", BASE),
    OURS: (BASE, "import racl_tf"),
    "every public name of racl_tf, after them": (BASE, "from racl_tf import *"),
}


def execute(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout:  # the status says nothing: absl's --help ends with 1
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def import_seconds(before: str, statement: str) -> float:
    code = f"import time\n{before}\nstart = time.perf_counter()\n{statement}\nprint(time.perf_counter() - start)"
    return float(execute("-c", code).splitlines()[-1])


def first_step_seconds() -> float:
    """Returns the seconds from starting Python to the end of the first search step, which traces it."""
    case = {"subject": "search", "batch": FLAGS.batch, "channels": FLAGS.channels, "cells": FLAGS.cells}

    def first_step() -> None:
        worker = Worker(sys.executable, "benchmarks.tensorflow_side", case)
        worker.measure("step")()
        worker.close()

    return timed(first_step)()


def measure(report: Report) -> None:
    measures: dict[str, Callable[[], float]] = {
        name: partial(import_seconds, *parts) for name, parts in IMPORTS.items()
    }
    for program in FLAGS.programs:
        measures[f"racl-{program} --help"] = timed(partial(execute, "-m", f"bin.{program}", "--help"))
    measures[FIRST_STEP] = first_step_seconds
    seconds = interleave(measures, FLAGS.repeats, warmups=0)
    report.add_times(seconds)
    report.add_ratio("first search step / import tensorflow, keras", seconds[FIRST_STEP], seconds[BASE])
    report.add_ratio("import racl_tf / import tensorflow, keras", seconds[OURS], seconds[BASE])


if __name__ == "__main__":
    quick = {"programs": ["search"], "batch": 4, "channels": 4, "cells": 1, "repeats": 1}
    run(measure, quick=quick)
