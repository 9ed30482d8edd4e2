"""Runs what shows in ten minutes or so whether a commit made anything slower, and compares it with figures kept before.

Only ratios are compared, which carry from one day to the next on a machine, and mostly from one machine to another of
its kind; `--keep` keeps those of this run instead. The status is 1 if any is worse than the kept one by more than
`--tolerance`. With `--quick` nothing is compared.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from absl import app, flags

from benchmarks import program
from benchmarks.timing import ROOT

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(program)
flags.DEFINE_bool("keep", False, "Keep this run's ratios as those to compare with.")
flags.DEFINE_string("kept", str(pathlib.Path(__file__).with_name("kept.json")), "The file of the kept ratios.")
flags.DEFINE_float("tolerance", 0.25, "By which share a ratio may be worse.", lower_bound=0)

LESS, MORE = "less is better", "more is better"
WATCHED: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "limit": (
        ("--repeats=5", "--kernels=0"),
        {f"{step}, attainable / measured": MORE for step in ("search step", "PGD-7 training step", "PGD-20")},
    ),
    "attacks": (("--repeats=7",), {f"{attack}, speed of ours / bound": MORE for attack in ("FGSM", "PGD", "MIM")}),
    "adversarial_step": (("--repeats=5",), {"adversarial step / parts": LESS}),
    "standing": (("--repeats=3",), {"evaluation / bare passes": LESS}),
    "startup": (
        ("--repeats=1", "--programs=search"),
        {"first search step / import tensorflow, keras": LESS},
    ),
    "growth": (
        ("--repeats=3", "--batches=8,32", "--depths=3,6", "--widths=", "--classes=", "--sides=", "--test_images="),
        {f"exponent of {axis}": LESS for axis in ("batch", "cells")},
    ),
}
"""The programs that are run, with their flags, and which of their results are compared."""


class Change(NamedTuple):
    """A ratio beside the one kept before."""

    name: str
    kept: float
    now: float
    better: str

    @property
    def worse_by(self) -> float:
        """By which share of itself the ratio became worse; below 0 if it became better."""
        return self.now / self.kept - 1 if self.better == LESS else self.kept / self.now - 1


def run_programs(*, quick: bool) -> dict[str, float]:
    """Runs the programs one after the other and returns the medians of what is watched."""
    found: dict[str, float] = {}
    for name, (given, watched) in WATCHED.items():
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            how = ("--quick",) if quick else given
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *how, f"--json={path}"], cwd=ROOT, check=True)
            results = json.loads(path.read_text())["results"]
        found |= {ratio: results[ratio]["median"] for ratio in watched if ratio in results}
    return found


def compare(kept: Mapping[str, float], now: Mapping[str, float]) -> list[Change]:
    """Returns what is in both, the worst change first.

    >>> [change.name for change in compare({"PGD, speed of ours / bound": 1.0}, {"PGD, speed of ours / bound": 0.5})]
    ['PGD, speed of ours / bound']
    """
    better = {name: how for _, names in WATCHED.values() for name, how in names.items()}
    changes = [Change(name, kept[name], now[name], better[name]) for name in now if name in kept]
    return sorted(changes, key=lambda change: -change.worse_by)


def table(changes: Iterable[Change], tolerance: float) -> str:
    rows = [f"{'':<52} {'kept':>8} {'now':>8} {'worse by':>9}"]
    for change in changes:
        mark = "  <- slower" if change.worse_by > tolerance else ""
        rows.append(f"{change.name:<52} {change.kept:>8.3g} {change.now:>8.3g} {change.worse_by:>9.0%}{mark}")
    return "\n".join(rows)


def main(_: list[str]) -> None:
    now = run_programs(quick=FLAGS.quick)
    path = pathlib.Path(FLAGS.kept)
    if FLAGS.keep:
        path.write_text(json.dumps(now, indent=1) + "\n")
        print(f"Kept {len(now)} ratios in {path}.")
    elif not FLAGS.quick:
        changes = compare(json.loads(path.read_text()), now)
        print(table(changes, FLAGS.tolerance))
        sys.exit(int(any(change.worse_by > FLAGS.tolerance for change in changes)))


if __name__ == "__main__":
    app.run(main)
