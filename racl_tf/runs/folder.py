"""The folder of one step of a run, which says what it holds and is never mixed with another's."""

import importlib.metadata
import json
import pathlib
import platform
from typing import Any

from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.files import write_json
from racl_tf.version import __version__

_LIBRARIES = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")


def open_folder(workdir: str, step: str, config: ConfigDict, sections: tuple[str, ...]) -> pathlib.Path:
    """Returns the folder `workdir/step` after writing config.json and versions.json there, or checking config.json.

    Arguments:
        workdir: the run's folder.
        step: the name of the step.
        config: the run's configuration.
        sections: the parts of it that this step depends on.

    Raises:
        UsageError: the folder was begun with other settings, or cannot be written.
    """
    folder = pathlib.Path(workdir).expanduser() / step
    settings = {name: _plain(config[name]) for name in ("seed", "mixed_precision", "data", *sections)}
    path = folder / "config.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
            versions |= {"racl_tf": __version__, "python": platform.python_version(), "machine": platform.platform()}
            write_json(folder / "versions.json", versions)
            write_json(path, settings)
        before = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(
            f"The run's folder {str(folder)!r} cannot be used: {error}. Choose another --workdir."
        ) from None
    except json.JSONDecodeError:
        raise UsageError(
            f"{str(path)!r} is not a configuration. Choose another --workdir or remove the file."
        ) from None
    differences = _differences(before, json.loads(json.dumps(settings)))
    if differences:
        raise UsageError(
            f"The folder {str(folder)!r} was begun with other settings: {'; '.join(differences)}. "
            "Choose another --workdir, or give the settings it was begun with to continue it."
        )
    return folder


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, ConfigDict) else value


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        parts = (_differences(before.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [difference for part in parts for difference in part]
    return [] if before == now else [f"{name} was {before!r} and is {now!r}"]
