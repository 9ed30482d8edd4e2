"""Files that are there completely or not at all."""

import contextlib
import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from racl_tf.errors import UsageError


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file atomically, making missing folders."""
    with whole(path) as temporary:
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
        return json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, or too long a number
        raise damaged(path, error) from None


def damaged(path: str | os.PathLike[str], reason: object) -> UsageError:
    """Returns the error for a file of a run that does not hold what it was written with."""
    return UsageError(f"{os.fspath(path)!r} is damaged: {reason}. Remove it to have it made again.")


def read_table(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Returns the rows of a CSV file by column name, none if there is no file.

    Raises:
        UsageError: it is none, or a row has not as many cells as there are columns.
    """
    if not Path(path).exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(path, error) from None
    if any(None in row or None in row.values() for row in rows):
        raise damaged(path, "its rows differ in length")
    return rows


def write_table(path: str | os.PathLike[str], rows: Sequence[dict[str, str]]) -> None:
    """Writes a CSV file atomically, with a column for every name in any row."""
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed .npz file atomically, making missing folders; arrays of objects are refused.

    It holds their digest too, by which `read_arrays` tells whether they are as they were written.
    """
    with whole(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays), **{_DIGEST: np.array(_digest(arrays))})


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name, none if there is no file.

    Raises:
        UsageError: the file is not an .npz file of plain arrays, or they are not what was written.
    """
    if not Path(path).exists():
        return {}
    arrays = load_arrays(path)
    written = arrays.pop(_DIGEST, None)
    if written is not None and str(written) != _digest(arrays):
        raise damaged(path, "it holds other arrays than were written")
    return arrays


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of anybody's .npz file by name.

    Raises:
        UsageError: the file cannot be read, or is not an .npz file of plain arrays.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array without a name, as np.save writes it; use np.savez")
        with file:
            return dict(file)
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        reason = str(error) or type(error).__name__
        raise UsageError(
            f"Cannot read {os.fspath(path)!r}: it is not an .npz file of plain arrays: {reason}."
        ) from None


_DIGEST = "digest"


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns a text that differs where names, types, shapes or values of arrays do."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def sync(path: str | os.PathLike[str]) -> None:
    """Waits until a file, or what a folder's names stand for, is on the disk."""
    if os.name == "nt" and os.path.isdir(path):  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary file with the suffix of `path` to write, which takes its place, on the disk, if nothing fails.

    Missing folders are made.
    """
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
