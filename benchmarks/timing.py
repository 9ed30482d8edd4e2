"""Times measured in turns, and processes that time themselves when they are asked.

Only the standard library is used, so that an interpreter without racl_tf can serve too.
"""

import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
Actions = Mapping[str, Callable[[], object]]
Measures = Mapping[str, Callable[[], float]]


def timed(action: Callable[[], object]) -> Callable[[], float]:
    """Returns a function that runs `action` and returns the seconds that it took."""

    def measure() -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return measure


def interleave(measures: Measures, repeats: int, *, warmups: int = 2) -> dict[str, list[float]]:
    """Returns `repeats` values of every measure, taken in turns.

    So the same disturbances meet all of them, and values of the same turn make a ratio. Each turn
    begins with the next measure: none always follows the same one.
    """
    for measure in measures.values():
        for _ in range(warmups):
            measure()
    names = list(measures)
    values: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            values[name].append(measures[name]())
    return values


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Returns the ratios turn by turn."""
    return [value / other for value, other in zip(values, others, strict=True)]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the lower quartile, the median and the upper quartile.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 3.0, 4.0)
    """
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return low, median, high


class Worker:
    """Another process that runs actions when asked, such as one of a framework that must not share this one.

    Its memory can be told only if this process is small: Linux begins a child's peak at its parent's.

    Arguments:
        python: the interpreter.
        module: what it runs as `python -m`, which calls `serve`.
        case: the argument of the function given to `serve`.

    Raises:
        RuntimeError: the process ended; the message ends with what it said.
    """

    def __init__(self, python: str, module: str, case: Mapping[str, Any]) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._messages = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", module, json.dumps(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self.build_seconds = self._answer()

    def measure(self, action: str) -> Callable[[], float]:
        """Returns a function that has the action run and returns the seconds it took there."""
        return lambda: self._ask(action)

    def peak_bytes(self) -> float:
        """Returns the largest resident size of the process so far."""
        return self._ask("peak_bytes")

    def close(self) -> None:
        self._process.communicate()
        self._messages.close()

    def _ask(self, request: str) -> float:
        assert self._process.stdin is not None
        print(request, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        if not (answer := self._process.stdout.readline()):
            self._messages.seek(0)
            raise RuntimeError(f"A measured process ended.\n{self._messages.read()[-2000:]}")
        return float(answer)


def serve(make: Callable[[dict[str, Any]], Actions]) -> None:
    """Runs the actions made for the case in sys.argv as stdin names them and answers each with its seconds."""
    actions: dict[str, Callable[[], object]] = {}
    with contextlib.redirect_stdout(sys.stderr):  # what the measured code prints is no answer
        build_seconds = timed(lambda: actions.update(make(json.loads(sys.argv[1]))))()
        print(build_seconds, file=sys.__stdout__, flush=True)
        for line in sys.stdin:
            if (request := line.strip()) == "peak_bytes":
                answer: float = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            else:
                answer = timed(actions[request])()
            print(answer, file=sys.__stdout__, flush=True)
