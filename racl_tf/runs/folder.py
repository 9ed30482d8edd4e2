"""The folder of one step of a run, which says what it holds and is never mixed with another's."""

import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.files import write_json
from racl_tf.settings import ADDED
from racl_tf.version import run_versions


class StepFolder:
    """The folder `workdir/step` and the settings that it stands for: all of its sections but where the data lies.

    Arguments:
        workdir: the run's folder.
        step: the name of the step.
        config: the run's configuration.
        sections: the parts of it that this step depends on.

    Raises:
        UsageError: the folder holds something made with other settings.
    """

    def __init__(self, workdir: str, step: str, config: ConfigDict, sections: tuple[str, ...]) -> None:
        self.path = pathlib.Path(workdir).expanduser() / step
        self._settings = {name: _plain(config[name]) for name in ("seed", "mixed_precision", "data", *sections)}
        self._check()

    def begin(self) -> pathlib.Path:
        """Writes config.json and versions.json, unless the folder holds more already, and returns the path.

        Called when all that a user can get wrong has been looked at, so that a mistake leaves no folder behind.

        Raises:
            UsageError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self._is_used():
                write_json(self.path / file_names.VERSIONS, run_versions())
                write_json(self.path / file_names.CONFIG, self._settings)
        except OSError as error:
            raise UsageError(f"The run's folder cannot be written: {error}. Choose another --workdir.") from None
        return self.path

    def _is_used(self) -> bool:
        """Whether the folder holds settings and something made with them: a refused step leaves them alone behind."""
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        return file_names.CONFIG in names and not names <= {file_names.CONFIG, file_names.VERSIONS, file_names.EVENTS}

    def _check(self) -> None:
        path = self.path / file_names.CONFIG
        if not path.is_file() or not self._is_used():
            return
        try:
            before = json.loads(path.read_text())
        except json.JSONDecodeError:
            raise UsageError(
                f"{str(path)!r} is not a configuration. Choose another --workdir or remove the file."
            ) from None
        differences = _differences(before, json.loads(json.dumps(self._settings)))
        if differences:
            raise UsageError(
                f"The folder {str(self.path)!r} was begun with other settings: {'; '.join(differences)}. "
                "Choose another --workdir, or give the settings it was begun with to continue it."
            )


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, ConfigDict) else value


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        names = {key: f"{name}.{key}" if name else key for key in keys}
        parts = (_differences(before.get(key, ADDED.get(names[key])), now.get(key), names[key]) for key in keys)
        return [difference for part in parts for difference in part]
    return [] if before == now or name == "data.data_dir" else [f"{name} was {before!r} and is {now!r}"]


def network_path(workdir: str) -> pathlib.Path:
    """Returns the path of the best checkpoint of the training in `workdir`.

    Raises:
        UsageError: there is none.
    """
    path = pathlib.Path(workdir).expanduser() / file_names.TRAIN / file_names.BEST_NETWORK
    if not path.exists():
        raise UsageError(f"There is no trained network {str(path)!r}. Run racl-train with this --workdir first.")
    return path
