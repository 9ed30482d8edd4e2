"""The folder of one step of a run, which says what it holds and is never mixed with another's."""

import functools
import json
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.files import as_path, as_tensorflow_path, damaged, read_json, write_json
from racl_tf.folder_lock import LOCK, WRITER, FolderLock
from racl_tf.settings import ADDED, READING, paper_settings
from racl_tf.version import run_versions

P = ParamSpec("P")
R = TypeVar("R")
_LOGGER = logging.getLogger(__name__)
_ALWAYS = ("seed", "deterministic", "mixed_precision", "data")  # what every step depends on
_SHOWN = 6  # differences that a message names


class StepFolder:
    """The folder `workdir/step` and the settings that it stands for: all of its sections but where the data lies.

    Besides its own config.json there is the run's, which holds all settings for the steps that follow.

    Arguments:
        workdir: the run's folder.
        step: the name of the step.
        config: the run's configuration.
        sections: the parts of it that this step depends on.

    Raises:
        UsageError: the folder holds something made with other settings.
    """

    def __init__(self, workdir: str, step: str, config: ConfigDict, sections: tuple[str, ...]) -> None:
        self.path = as_tensorflow_path(workdir) / step
        self._run_settings = {name: _plain(value) for name, value in config.items()}
        self._settings = {name: self._run_settings[name] for name in (*_ALWAYS, *sections)}
        self._check()

    def begin(self) -> pathlib.Path:
        """Locks the folder, writes config.json and versions.json unless it holds more already, and returns the path.

        The lock is held until the function that is decorated with `one_writer` ends. The run's config.json is written
        as long as no step of it holds more. Called when all that a user can get wrong has been looked at, so that a
        mistake leaves no folder behind. Of several processes of the run the chief alone locks and writes.

        Raises:
            UsageError: the folder cannot be written, another process writes it, or it was begun with other data.
        """
        from racl_tf.distribution import WORKERS  # with TensorFlow, for which those that only read need not wait

        if not WORKERS.is_chief:
            return self.path
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self.path not in _HELD:
                lock = FolderLock(self.path)
                lock.acquire()
                _HELD[self.path] = lock
                self._check()  # again: another process may have begun and ended it
            if not _is_used(self.path):
                if not any(_is_used(path.parent) for path in self.path.parent.glob(f"*/{file_names.CONFIG}")):
                    write_json(self.path.parent / file_names.CONFIG, self._run_settings)
                write_json(self.path / file_names.VERSIONS, self._versions())
                write_json(self.path / file_names.DATA, {"content": self._content()})
                write_json(self.path / file_names.CONFIG, self._settings)
            else:
                self._compare_data()
                self._compare_versions()
        except OSError as error:
            raise UsageError(f"The run's folder cannot be written: {error}. Choose another --workdir.") from None
        return self.path

    def _compare_data(self) -> None:
        """Checks that files of the user's own still hold what they did; folders of earlier versions do not know."""
        path, name = self.path / file_names.DATA, self._settings["data"]["name"]
        before = read_json(path) if path.exists() else {}
        if not isinstance(before, dict):
            raise damaged(path, "it holds no digest")
        if "content" in before and before["content"] != self._content():
            raise UsageError(
                f"The data in {name!r} are not those that {str(self.path)!r} was begun with. Put those back, or choose "
                "another --workdir for these."
            )

    def _content(self) -> str | None:
        from racl_tf.data.datasets import content_digest  # with TensorFlow too

        return content_digest(self._settings["data"]["name"])

    def _versions(self) -> dict[str, str]:
        return run_versions() | {"strategy": self._run_settings["strategy"]}

    def _compare_versions(self) -> None:
        """Says what else the folder was begun by: it goes on, but may not end as it would have there."""
        path = self.path / file_names.VERSIONS
        before, now = (read_json(path) if path.exists() else {}), self._versions()
        if changed := changed_versions(before, now):
            _LOGGER.warning("%s was begun elsewhere: %s. Figures may differ a little.", self.path, "; ".join(changed))

    def _check(self) -> None:
        if not _is_used(self.path):
            return
        before, now = _read_settings(self.path / file_names.CONFIG), json.loads(json.dumps(self._settings))
        if differences := _differences(before, now):
            more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            raise UsageError(
                f"The folder {str(self.path)!r} was begun with other settings: "
                f"{'; '.join(differences[:_SHOWN])}{more}. Choose another --workdir, or leave out what "
                "differs to continue with the settings it was begun with."
            )


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Returns what of the contents of versions.json differs, for people; what was not noted before is left out.

    >>> changed_versions({"numpy": "1.26.4"}, {"numpy": "2.0.1", "keras": "3.13.2"})
    ["numpy was '1.26.4' and is '2.0.1'"]
    """
    return [
        f"{name} was {before[name]!r} and is {now[name]!r}" for name in now if before.get(name, now[name]) != now[name]
    ]


_HELD: dict[pathlib.Path, FolderLock] = {}  # of this process, by folder


def one_writer(run: Callable[P, R]) -> Callable[P, R]:
    """Returns a function that gives the locks of the folders it begins up when it ends, however it ends."""

    @functools.wraps(run)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        before = set(_HELD)
        try:
            return run(*args, **kwargs)
        finally:
            for path in set(_HELD) - before:
                _HELD.pop(path).release()

    return held


_ADDED = json.loads(json.dumps(dict(ADDED)))  # as a file has them, where tuples are lists


_NEVER = ("callbacks", "strategy")  # are taken from a folder: code that is run, and the devices of another machine
_BEGUN = {file_names.CONFIG, file_names.VERSIONS, file_names.DATA, file_names.EVENTS, LOCK, WRITER}


def _is_used(folder: pathlib.Path) -> bool:
    """Whether a step's folder holds settings and something made with them: a refused step leaves them alone behind."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return file_names.CONFIG in names and not names <= _BEGUN


def take_over_settings(config: ConfigDict, workdir: str, steps: Sequence[str]) -> None:
    """Gives a configuration the settings that a run was begun with and those of its steps.

    Arguments:
        config: changed in place.
        workdir: the run's folder.
        steps: names of steps, none for what is not a step of a run; the later the stronger.

    Raises:
        UsageError: a step's config.json does not hold such settings.
    """
    for folder in ("", *steps) if steps else ():
        path = as_path(workdir) / folder / file_names.CONFIG
        if path.is_file():
            before = _read_settings(path)
            old = {name: value for name, value in ADDED.items() if name.partition(".")[0] in before}
            config.update_from_flattened_dict(old)
            try:
                _take_over(config, before, paper_settings())
            except (TypeError, ValueError):
                raise _damaged(path) from None


def _take_over(config: ConfigDict, before: Mapping[str, Any], usual: ConfigDict) -> None:
    for name, value in before.items():
        if name not in config or name not in usual or name in _NEVER:
            continue  # of another version: the comparison with the step's settings names it
        if isinstance(config[name], ConfigDict) != isinstance(value, dict):
            raise TypeError(name)
        if isinstance(value, dict):
            _take_over(config[name], value, usual[name])
        elif value is None and usual[name] is not None:
            raise TypeError(name)
        else:
            config[name] = tuple(value) if isinstance(value, list) else value


def _read_settings(path: pathlib.Path) -> dict[str, Any]:
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise _damaged(path)
    return settings


def _damaged(path: pathlib.Path) -> UsageError:
    return UsageError(
        f"{str(path)!r} does not hold the settings of a run. Choose another --workdir or remove the file."
    )


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, ConfigDict) else value


_NO_DIFFERENCE = (*READING, "evaluate.keep_adversarial")  # settings that change no figure


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        names = {key: f"{name}.{key}" if name else key for key in keys}
        parts = (_differences(before.get(key, _ADDED.get(names[key])), now.get(key), names[key]) for key in keys)
        return [difference for part in parts for difference in part]
    return [] if before == now or name in _NO_DIFFERENCE else [f"{name} was {before!r} and is {now!r}"]


def network_path(workdir: str) -> pathlib.Path:
    """Returns the path of the best checkpoint of the training in `workdir`.

    Raises:
        UsageError: there is none, or the training is not finished.
    """
    path = as_path(workdir) / file_names.TRAIN / file_names.BEST_NETWORK
    if not path.exists():
        raise UsageError(f"There is no trained network {str(path)!r}. Run racl-train with this --workdir first.")
    if not (path.parent / file_names.FINISHED).exists():
        raise UsageError(
            f"The training in {str(path.parent)!r} is not finished. Let racl-train with this --workdir finish it, or "
            f"attack what it has so far by --model={path}."
        )
    return path
