"""What all benchmarks share: flags, a report that is printed as it grows and written as JSON, and --quick."""

import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags

from benchmarks.timing import quartiles, ratios

FLAGS = flags.FLAGS
flags.DEFINE_string("json", None, "The file for all results; only printed if there is none.")
flags.DEFINE_bool("quick", False, "Tiny sizes: shows that the program runs, not how fast anything is.")
flags.DEFINE_integer("repeats", 11, "The turns of the measurement.", lower_bound=1)
_PACKAGES = ("tensorflow", "keras", "numpy", "foolbox", "cleverhans", "adversarial-robustness-toolbox")


class Report:
    """Results by name: medians with their quartiles, and every value."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.results: dict[str, dict[str, Any]] = {}
        self.skipped: list[str] = []
        self._about = {"settings": dict(settings), "machine": _machine(), "load_before": os.getloadavg()}

    def add(self, name: str, values: Sequence[float], unit: str) -> None:
        """Adds and prints a result, given all values of it; a single one has no spread."""
        low, median, high = quartiles(values)
        self.results[name] = {"unit": unit, "median": median, "low": low, "high": high, "values": list(values)}
        spread = f"[{low:.4g}, {high:.4g}]" if len(values) > 1 else ""
        print(f"{name:<58} {median:>9.4g} {unit:<9} {spread}", flush=True)

    def add_times(self, seconds: Mapping[str, Sequence[float]], suffix: str = "") -> None:
        for name, values in seconds.items():
            self.add(name + suffix, values, "s")

    def add_ratio(self, name: str, values: Sequence[float], others: Sequence[float]) -> None:
        """Adds the ratios of values that were taken in the same turns."""
        self.add(name, ratios(values, others), "ratio")

    def skip(self, reason: str) -> None:
        self.skipped.append(reason)
        print(f"skipped: {reason}", flush=True)

    def write(self, path: str) -> None:
        record = {**self._about, "load_after": os.getloadavg(), "results": self.results, "skipped": self.skipped}
        pathlib.Path(path).write_text(json.dumps(record, indent=1) + "\n")


def run(measure: Callable[[Report], None], *, quick: Mapping[str, Any]) -> None:
    """Runs a program.

    Arguments:
        measure: does everything, by FLAGS, and adds what it finds to the report.
        quick: the values that --quick gives to flags.
    """
    for name in ("json", "quick", "repeats"):  # so that --help lists them
        FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])

    def main(_: Sequence[str]) -> None:
        if FLAGS.quick:
            for name, value in quick.items():
                FLAGS[name].value = value
        settings = {flag.name: flag.value for flag in FLAGS.get_key_flags_for_module(sys.argv[0])}
        report = Report(settings)
        if os.getloadavg()[0] > 0.5:
            print(f"Others are at work here (load {os.getloadavg()[0]:.1f}): a quiet machine measures better.")
        measure(report)
        if FLAGS.json:
            report.write(FLAGS.json)

    app.run(main)


def _machine() -> dict[str, Any]:
    found: dict[str, Any] = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS")}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version(), **found}
