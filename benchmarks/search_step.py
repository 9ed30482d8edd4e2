"""Times a search step (weights, architecture, constraint and dual) beside PC-DARTS's own two updates in PyTorch.

Each side is a process of its own and both take turns. Also: what the constraint costs, what the first
calls cost, and the peak memory of the whole processes at the end of both phases, one after the other, as
a run has them.
"""

from absl import flags

from benchmarks import sides
from benchmarks.program import Report, run
from benchmarks.timing import interleave

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(sides)
flags.DEFINE_multi_integer("batch", [32, 64], "The images of one batch; given several times, all are measured.")
flags.DEFINE_integer("channels", 16, "C.")
flags.DEFINE_integer("cells", 8, "L.")
flags.DEFINE_boolean("recompute", False, "Compute our cells again in backward passes, for less memory.")
flags.DEFINE_boolean("mixed_precision", False, "Compute our side in bfloat16.")
PHASES = ("warm-up step", "step")


def measure(report: Report) -> None:
    for batch in FLAGS.batch:
        case = {"subject": "search", "batch": batch, "channels": FLAGS.channels, "cells": FLAGS.cells}
        ours = case | {name: FLAGS[name].value for name in ("recompute", "mixed_precision")}
        workers = sides.start(report, ours=ours, theirs=case)
        peaks = {}
        for side, worker in workers.items():
            report.add(f"{side}, first calls of both phases, batch {batch}", [first_calls(worker)], "s")
            peaks[side] = worker.peak_bytes() / 2**30
            report.add(f"{side}, peak memory, batch {batch}", [peaks[side]], "GiB")
        measures = {f"{side}, {phase}": worker.measure(phase) for side, worker in workers.items() for phase in PHASES}
        seconds = interleave(measures, FLAGS.repeats, warmups=1)
        report.add_times(seconds, f", batch {batch}")
        if sides.THEIRS in workers:
            for phase in PHASES:
                name = f"ours / {sides.THEIRS}, {phase}, batch {batch}"
                report.add_ratio(name, seconds[f"ours, {phase}"], seconds[f"{sides.THEIRS}, {phase}"])
            report.add_ratio(f"ours / {sides.THEIRS}, peak memory, batch {batch}", *([p] for p in peaks.values()))
            workers[sides.THEIRS].close()
        measure_constraint(report, workers["ours"], batch)
        workers["ours"].close()


def first_calls(worker: sides.Worker) -> float:
    """Returns the seconds of the first step of each phase. Each takes three; the first phase ends before the second."""
    seconds = 0.0
    for phase in PHASES:
        worker.measure("end of phase")()
        first, *_ = (worker.measure(phase)() for _ in range(3))
        seconds += first
    return seconds


def measure_constraint(report: Report, worker: sides.Worker, batch: int) -> None:
    """Adds the constraint's share, by itself and as the difference that it makes to a step.

    A step without constraint still measures norms and logs mu_F and sigma_F, so the difference leaves
    out the power iteration; what runs by itself contains it.
    """
    names = ("step", "step without constraint", "constraint alone")
    seconds = interleave({name: worker.measure(name) for name in names}, FLAGS.repeats)
    report.add_times({name: seconds[name] for name in names[1:]}, f", batch {batch}")
    report.add_ratio(f"constraint alone / step, batch {batch}", seconds["constraint alone"], seconds["step"])
    report.add_ratio(f"step / without constraint, batch {batch}", seconds["step"], seconds["step without constraint"])


if __name__ == "__main__":
    run(measure, quick={"batch": [4], "channels": 4, "cells": 1, "repeats": 2})
