"""Files that are there completely or not at all."""

import contextlib
import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from racl_tf.errors import UsageError


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file atomically, making missing folders."""
    with _whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a JSON file atomically, indented; NumPy scalars and arrays become numbers and lists."""
    write_text(path, json.dumps(value, indent=2, default=lambda item: item.tolist()) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Returns the content of a JSON file.

    Raises:
        UsageError: it is none.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, or too long a number
        raise UsageError(f"{os.fspath(path)!r} is damaged: {error}. Remove it to have it made again.") from None


def read_table(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Returns the rows of a CSV file by column name, none if there is no file."""
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path: str | os.PathLike[str], rows: Sequence[dict[str, str]]) -> None:
    """Writes a CSV file atomically, with a column for every name in any row."""
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed .npz file atomically, making missing folders; arrays of objects are refused."""
    with _whole(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays))


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name, none if there is no file.

    Raises:
        UsageError: the file is not an .npz file of plain arrays.
    """
    if not Path(path).exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{os.fspath(path)!r} is not an .npz file of plain arrays: {error}.") from None


@contextlib.contextmanager
def _whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary file beside `path` to write, which takes its place (`os.replace`) if nothing fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
