"""A run made again from its settings, and the first value in which it differs."""

from __future__ import annotations

import json
import logging
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.files import as_path, damaged, read_json, read_json_lines, read_table
from racl_tf.folder_lock import LOCK, WRITER
from racl_tf.reporting import find_runs
from racl_tf.runs.choose import run_choice
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.folder import changed_versions, take_over_settings
from racl_tf.runs.search import run_search
from racl_tf.runs.sweep import run_sweep
from racl_tf.runs.train import run_training
from racl_tf.runs.transfer import run_transfer
from racl_tf.settings import paper_settings
from racl_tf.version import run_versions

_LOGGER = logging.getLogger(__name__)
_LEFT_OUT = ("seconds", "date", "versions")  # of rows and of results, which no second run has again


class _Step(NamedTuple):
    """How a step of a run is made, and by what it is told.

    Arguments:
        run: makes it of a configuration and a run's folder.
        after: the steps whose settings it takes over.
        finished: the file that is there once it is finished.
        compared: its files of values; what comes about earlier is named first all the same.
    """

    run: Callable[[ConfigDict, str], object]
    after: tuple[str, ...]
    finished: str
    compared: tuple[str, ...]


_ATTACKED = (file_names.SEARCH, file_names.TRAIN, file_names.EVALUATE)
_STEPS: Mapping[str, _Step] = {
    file_names.SEARCH: _Step(
        run_search,
        (),
        file_names.GENOTYPE,
        (file_names.STEPS, file_names.HISTORY, file_names.ARCHITECTURE, file_names.GENOTYPE, file_names.SUMMARY),
    ),
    file_names.CHOOSE: _Step(
        run_choice, (file_names.SEARCH,), file_names.GENOTYPE, (file_names.SAMPLING, file_names.GENOTYPE)
    ),
    file_names.TRAIN: _Step(
        run_training,
        (file_names.SEARCH,),
        file_names.FINISHED,
        (file_names.HISTORY, file_names.GENOTYPE, file_names.FINISHED),
    ),
    file_names.EVALUATE: _Step(run_evaluation, _ATTACKED[:2], file_names.RESULTS, (file_names.RESULTS,)),
    file_names.SWEEP: _Step(run_sweep, _ATTACKED, file_names.RESULTS, (file_names.RESULTS,)),
    file_names.TRANSFER: _Step(run_transfer, _ATTACKED, file_names.RESULTS, (file_names.RESULTS,)),
}


class Difference(NamedTuple):
    """A value that two runs differ in.

    Arguments:
        place: the step's file, the epoch, the step and the name of the value.
        before: as it is written in the first run; "missing" if it is not there.
        now: in the second one.
    """

    place: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.place} was {self.before} and is {self.now}"


class RunComparison(NamedTuple):
    """What two runs differ in.

    Arguments:
        steps: the names of the steps that were compared.
        compared: how many values.
        differences: those that differ, by steps, the earlier epoch and step first.
        versions: what of libraries, machine and threads differs, for people.
    """

    steps: tuple[str, ...]
    compared: int
    differences: list[Difference]
    versions: list[str]

    def __str__(self) -> str:
        what = f"{self.compared:,} values of {', '.join(self.steps)}"
        elsewhere = f" It was made elsewhere: {'; '.join(self.versions)}." if self.versions else ""
        if not self.differences:
            return f"All {what} are equal.{elsewhere}"
        return f"{len(self.differences):,} of {what} differ. The first: {self.differences[0]}.{elsewhere}"


def run_rerun(folder: str, workdir: str | None, *, check: bool) -> RunComparison | None:
    """Makes the finished steps of a run again, from the settings that it was begun with.

    Steps are searches, choices, trainings, evaluations, sweeps and transfers. Of the folder of one step this step
    alone is made, from copies of those before it.

    Arguments:
        folder: of the run or of one of its steps; nothing in it is changed.
        workdir: where it is made again; the same one goes on after an interruption. A temporary folder if not given.
        check: whether it is compared with what there was.

    Raises:
        UsageError: the folder holds no run or an unfinished one, or `workdir` is that folder, or missing without
            `check`, by which nothing would be left.
    """
    if not workdir and not check:
        raise UsageError("Give --workdir, the folder where the run is made again, or --check, to compare it alone.")
    if not workdir:
        with tempfile.TemporaryDirectory(prefix="racl-rerun-") as temporary:
            return run_rerun(folder, temporary, check=check)
    runs = find_runs([folder])
    if len(runs) > 1:
        raise UsageError(f"The folder {folder!r} holds {len(runs)} runs. Give the folder of one.")
    steps = runs[0].steps
    before, after = next(iter(steps.values())).parent, as_path(workdir)
    if after.exists() and os.path.samefile(before, after):
        raise UsageError(f"The run is in {workdir!r} itself. Give another --workdir, where it is made again.")
    for name, path in steps.items():
        if not (path / _STEPS[name].finished).exists():
            raise UsageError(f"The step in {os.fspath(path)!r} is not finished: it has no {_STEPS[name].finished}.")
    _copy_inputs(before, after, steps)
    for name in steps:
        config = paper_settings()
        take_over_settings(config, os.fspath(before), (*_STEPS[name].after, name))
        _LOGGER.info("The %s of %s is made again in %s.", name, before, after)
        _STEPS[name].run(config, workdir)
    return compare_runs(before, after, tuple(steps)) if check else None


def compare_runs(before: str | os.PathLike[str], after: str | os.PathLike[str], steps: Sequence[str]) -> RunComparison:
    """Returns in which values of their tables, genotypes and results two runs differ; times and dates are left out.

    Arguments:
        before: the folder of the first run.
        after: of the second.
        steps: names of the steps that are compared.

    Raises:
        UsageError: a file is damaged.
    """
    differences: list[Difference] = []
    versions: dict[str, None] = {}
    compared = 0
    for step in steps:
        old, new = (_values(as_path(folder) / step, step) for folder in (before, after))
        places = dict.fromkeys([*old, *new])
        compared += len(places)
        found = [(old.get(place, _MISSING), new.get(place, _MISSING), place) for place in places]
        unequal = [(min(was.time, now.time), was, now, place) for was, now, place in found if was.text != now.text]
        unequal.sort(key=lambda difference: difference[0])
        differences += [Difference(place, was.text, now.text) for _, was, now, place in unequal]
        path = as_path(before) / step / file_names.VERSIONS
        versions |= dict.fromkeys(changed_versions(read_json(path) if path.exists() else {}, run_versions()))
    return RunComparison(tuple(steps), compared, differences, list(versions))


class _Value(NamedTuple):
    """A value as text, and when it came about: the epoch and the step, infinite for what comes at the end."""

    time: tuple[float, float]
    text: str


_MISSING = _Value((math.inf, math.inf), "missing")


def _values(folder: pathlib.Path, step: str) -> dict[str, _Value]:
    """Returns the values that are compared of a step by their places."""
    values = {}
    for name in _STEPS[step].compared:
        path = folder / name
        if path.is_file():
            for row in _rows(path):
                epoch, number = (float(row.get(key, math.inf)) for key in ("epoch", "step"))
                when = [f"{key} {row[key]}" for key in ("epoch", "step") if key in row]
                for field, text in _leaves({key: value for key, value in row.items() if key not in _LEFT_OUT}):
                    values[", ".join((f"{step}/{name}", *when, field))] = _Value((epoch, number), text)
    return values


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of a table, the objects of a file of JSON lines, or the one of a JSON file."""
    if path.suffix == ".csv":
        return list(read_table(path))
    if path.suffix == ".jsonl":
        return read_json_lines(path)
    if not isinstance(row := read_json(path), dict):
        raise damaged(path, "it holds no object")
    return [row]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yields the values in nested objects and lists by their places, as text.

    >>> list(_leaves({"mu": [[0.5, 1.0]], "name": "a"}))
    [('mu[0][0]', '0.5'), ('mu[0][1]', '1.0'), ('name', 'a')]
    """
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{name}[{index}]")
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _copy_inputs(before: pathlib.Path, after: pathlib.Path, steps: Mapping[str, pathlib.Path]) -> None:
    """Copies the run's settings and the steps that are not made again, from which the others are made."""
    ignored = shutil.ignore_patterns(file_names.EVENTS, LOCK, WRITER)
    try:
        after.mkdir(parents=True, exist_ok=True)
        if (before / file_names.CONFIG).is_file():
            shutil.copyfile(before / file_names.CONFIG, after / file_names.CONFIG)
        for name in list(_STEPS)[: list(_STEPS).index(next(iter(steps)))]:
            if (before / name / file_names.CONFIG).is_file() and not (after / name).exists():
                shutil.copytree(before / name, after / name, ignore=ignored)
    except OSError as error:
        raise UsageError(f"The run cannot be made again in {os.fspath(after)!r}: {error}.") from None
