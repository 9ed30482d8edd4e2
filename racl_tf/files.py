"""Paths as users give them, and files that are there completely or not at all."""

import contextlib
import csv
import glob
import hashlib
import io
import json
import math
import os
import platform
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from racl_tf.errors import UsageError, shortened

UNFINISHED = ".unfinished-"
"""What names of files and folders begin with before they are whole."""

_MOST_BYTES = 2**28  # of a file that is read as text: those of runs are far smaller
_PATTERNS = r"*?[\\"  # by which TensorFlow looks for files of other names


def as_path(path: str | os.PathLike[str]) -> Path:
    """Returns a user's path, with a leading ~ or ~NAME as the home folder.

    Raises:
        UsageError: it is not UTF-8, there is no such user, or a file system takes no such name.
    """
    text = os.fspath(path)
    try:
        text.encode()
        expanded = Path(text).expanduser()
        os.lstat(expanded)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # which is for those to say who read or write there
    except UnicodeEncodeError:
        raise UsageError(f"The path {text!r} is not UTF-8. Rename it.") from None
    except RuntimeError as error:
        raise UsageError(f"There is no home folder for {text!r}: {error} Write the path in full.") from None
    except (OSError, ValueError) as error:  # too long, or with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"No path can be {shortened(repr(text), 60)}: {reason}. Choose another.") from None
    return expanded


def as_tensorflow_path(path: str | os.PathLike[str]) -> Path:
    r"""Returns a user's path, as `as_path` does, below which TensorFlow can keep checkpoints and SavedModels.

    Raises:
        UsageError: also for one with `*`, `?`, `[` or `\`, which TensorFlow takes for a pattern of names: it does not
            find again what it wrote there.
    """
    expanded = as_path(path)
    if found := [letter for letter in _PATTERNS if letter in os.fspath(expanded)]:
        raise UsageError(
            f"TensorFlow does not find again what it writes below {os.fspath(path)!r}, since it takes {found[0]} for a "
            "pattern. Rename the folder or choose another."
        )
    return expanded


def read_text(path: str | os.PathLike[str], most: int = _MOST_BYTES) -> str:
    """Returns the content of a text file in UTF-8.

    Arguments:
        path: of the file.
        most: the largest size in bytes.

    Raises:
        OSError: it cannot be read, or is no file that ends, such as a pipe or a device.
        ValueError: it is larger, or not UTF-8.
    """
    path = as_path(path)
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most} bytes")
    return content.decode("utf-8")


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives the path of a folder to make, which becomes `path` if nothing fails; missing folders above are made."""
    path = as_path(path)
    unfinished = _unfinished(path)
    try:
        yield unfinished
        os.rename(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file in UTF-8 atomically, making missing folders; what is no Unicode is written as its escape."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a JSON file atomically, indented; NumPy scalars and arrays become numbers and lists."""
    write_text(path, json.dumps(value, indent=2, default=lambda item: item.tolist()) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Returns the content of a JSON file.

    Raises:
        UsageError: it is none.
    """
    try:
        return json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, or too long a number
        raise damaged(path, error) from None


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the objects of a file of one JSON object a line.

    Raises:
        UsageError: it is none.
    """
    try:
        entries = [json.loads(line) for line in read_text(path).splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from None
    if not all(isinstance(entry, dict) for entry in entries):
        raise damaged(path, "a line is no object")
    return entries


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
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(path, error) from None
    if any(None in row or None in row.values() for row in rows):
        raise damaged(path, "its rows differ in length")
    return rows


def write_table(path: str | os.PathLike[str], rows: Sequence[dict[str, str]]) -> None:
    """Writes a CSV file atomically, with a column for every name in any row.

    Words that a spreadsheet would run as a formula, since they begin with =, +, - or @, begin with ' instead.
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(name, "")) for name in columns] for row in rows)
    write_text(path, text.getvalue())


def _cell(text: str) -> str:
    """Returns the text of a cell, that no spreadsheet runs; numbers stay as they are.

    >>> _cell("-1.5e-3"), _cell("=cmd|' /C calc'!A0"), _cell("a=b")
    ('-1.5e-3', "'=cmd|' /C calc'!A0", 'a=b')
    """
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


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


def load_arrays(path: str | os.PathLike[str], *, but: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Returns the arrays of anybody's .npz file by name.

    Arguments:
        path: of the file.
        but: names of arrays that are not read and not returned.

    Raises:
        UsageError: the file cannot be read, or is not an .npz file of plain arrays.
    """
    try:
        if not Path(path).is_file():
            raise ValueError("there is no such file")
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array without a name, as np.save writes it; use np.savez")
        with file:
            return {name: file[name] for name in file.files if name not in but}
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        raise _not_arrays(path, error) from None


class ArrayRows:
    """The rows of an array of an .npz file, of which one at a time is read into memory.

    Arguments:
        path: of the file.
        name: of the array.

    Raises:
        UsageError: the file cannot be read, there is no such array, or its rows do not follow one another.
    """

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        self._path, self._name = path, name
        with self._opened() as (_, shape, dtype):
            self.shape, self.dtype = shape, dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        with self._opened() as (file, shape, dtype):
            size = dtype.itemsize * math.prod(shape[1:])
            for _ in range(shape[0]):
                yield np.frombuffer(file.read(size), dtype).reshape(shape[1:])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype]]:
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(f"{self._name}.npy") as file:
                version = np.lib.format.read_magic(file)
                read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, by_column, dtype = read_header[version](file)
                if dtype.hasobject or not shape:
                    raise ValueError(f"{self._name} holds objects or is a single value")
                if by_column and len(shape) > 1:
                    raise ValueError(f"{self._name} is stored by columns; save np.ascontiguousarray of it")
                yield file, shape, dtype
        except UsageError:
            raise
        except Exception as error:
            raise _not_arrays(self._path, error) from None


def array_sizes(path: str | os.PathLike[str]) -> dict[str, int]:
    """Returns the bytes that the arrays of an .npz file take in memory, by name; none if it is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
    except Exception:  # what damaged bytes raise is of a dozen kinds
        return {}


def _not_arrays(path: str | os.PathLike[str], error: Exception) -> UsageError:
    reason = str(error) or type(error).__name__
    return UsageError(f"Cannot read {os.fspath(path)!r}: it is not an .npz file of plain arrays: {reason}.")


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
    path = as_path(path)
    temporary = _unfinished(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    """Returns what is written before it becomes `path`, in a folder that is made if it is missing.

    What processes of this machine had not finished when they were killed is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = f"{UNFINISHED}{short_digest(platform.node().encode())}-"
    for leftover in path.parent.glob(f"{begin}*-{glob.escape(path.name)}"):
        writer = leftover.name.removeprefix(begin).removesuffix(f"-{path.name}")
        if writer.isdecimal() and (int(writer) == os.getpid() or not _is_running(int(writer))):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    return path.with_name(f"{begin}{os.getpid()}-{path.name}")


def _is_running(process: int) -> bool:
    """Returns whether a process of this machine may still run; on Windows none can be asked without being ended."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; no number of a process
        pass
    return True


def slug(text: str, most: int) -> str:
    """Returns a text as a part of a file's name: its letters and digits, at most `most`, with _ for what is between.

    >>> slug("My Data (2)", 40)
    'my_data_2'
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:most]


def short_digest(content: bytes) -> str:
    """Returns eight letters that tell apart what names cut short do not."""
    return hashlib.sha256(content).hexdigest()[:8]
