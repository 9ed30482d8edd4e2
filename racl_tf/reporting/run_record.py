"""What a run's folder holds, read for a report: whatever is missing or damaged is said, and nothing fails for it."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.files import damaged, read_arrays, read_json, read_table

STEPS = (
    file_names.SEARCH,
    file_names.CHOOSE,
    file_names.TRAIN,
    file_names.EVALUATE,
    file_names.SWEEP,
    file_names.TRANSFER,
)
"""The folders of steps that a report shows, in their order."""

_Content = TypeVar("_Content")


@dataclass(eq=False)
class RunRecord:
    """A run's folder and what can be read in it.

    Arguments:
        title: by which the run is told from others.
        steps: the folders of its steps that are there, by name.
        notes: one sentence for each file that was found damaged, added to as files are read.
    """

    title: str
    steps: Mapping[str, pathlib.Path]
    notes: list[str] = field(default_factory=list)

    def json(self, step: str, name: str) -> Any:
        """Returns the content of a JSON file of a step; None if it is missing or damaged."""
        return self._read(step, name, read_json)

    def table(self, step: str, name: str) -> list[dict[str, str]]:
        """Returns the rows of a CSV file of a step; none if it is missing or damaged."""
        return self._read(step, name, read_table) or []

    def arrays(self, step: str, name: str) -> dict[str, np.ndarray]:
        """Returns the arrays of an .npz file of a step; none if it is missing or damaged."""
        return self._read(step, name, read_arrays) or {}

    def lines(self, step: str, name: str) -> list[dict[str, Any]]:
        """Returns the objects of a file of one JSON object a line; those before the first damaged line."""
        found: list[dict[str, Any]] = []

        def read(path: pathlib.Path) -> None:
            try:
                for line in path.read_text(encoding="utf-8").splitlines():
                    entry = json.loads(line)
                    if not isinstance(entry, dict):
                        raise ValueError("a line is no object")
                    found.append(entry)
            except (OSError, ValueError, RecursionError) as error:
                raise damaged(path, error) from None

        self._read(step, name, read)
        return found

    def settings(self) -> dict[str, Any]:
        """Returns the settings that the steps were made with, by their dotted names; the later step's count."""
        found: dict[str, Any] = {}
        for step in self.steps:
            content = self.json(step, file_names.CONFIG)
            if isinstance(content, dict):
                found |= dict(flat(content))
        return found

    def attempt(self, what: str, make: Callable[[], _Content]) -> _Content | None:
        """Returns what a function makes of the run's files; None, and a note, if they do not hold what it needs."""
        try:
            return make()
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            self._note(f"{what} cannot be shown: the files do not hold what is needed ({error!r}).")
            return None

    def _read(self, step: str, name: str, read: Callable[[pathlib.Path], _Content]) -> _Content | None:
        path = self.steps.get(step, pathlib.Path(os.devnull)) / name
        try:
            return read(path) if path.is_file() else None
        except UsageError as error:
            self._note(str(error).replace(f"{path.parent}{os.sep}", f"{step}/"))
            return None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields nested settings by their dotted names.

    >>> dict(flat({"seed": 0, "search": {"eta": 0.9}}))
    {'seed': 0, 'search.eta': 0.9}
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def find_runs(folders: Sequence[str | os.PathLike[str]]) -> list[RunRecord]:
    """Returns the runs in some folders: each a run's, one of its steps', or one that holds runs.

    Raises:
        UsageError: a folder is missing, or holds no run.
    """
    runs = []
    for folder in folders:
        path = pathlib.Path(folder).expanduser()
        if not path.is_dir():
            raise UsageError(f"There is no folder {str(path)!r}. Give the --workdir of a run.")
        steps = {pathlib.Path(os.path.abspath(path)): _steps_in(path)}
        if not any(steps.values()):
            steps = {child: _steps_in(child) for child in sorted(path.iterdir()) if child.is_dir()}
        found = [RunRecord(place.name, parts) for place, parts in steps.items() if parts]
        if not found:
            raise UsageError(
                f"The folder {str(path)!r} holds no run: there is none of {', '.join(STEPS)}. Give the --workdir of "
                "a run that was begun."
            )
        runs += found
    titles = [run.title for run in runs]
    for index, run in enumerate(runs):
        if titles.count(run.title) > 1:
            run.title = f"{run.title} ({index + 1})"
    return runs


def _steps_in(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the folders of steps in a run's folder, or the one that the folder itself is."""
    there = {step: folder / step for step in STEPS if (folder / step / file_names.CONFIG).is_file()}
    name = pathlib.Path(os.path.abspath(folder)).name
    if not there and name in STEPS and (folder / file_names.CONFIG).is_file():
        return {name: folder}
    return there
