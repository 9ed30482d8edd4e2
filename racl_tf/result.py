"""The shape that all results share."""

import abc
import os
from typing import Any

from racl_tf.files import write_json, write_table


class Result(abc.ABC):
    """What was measured: `to_dict()` for programs, `save(path)` for files and `str` for people."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Returns all figures with what they were measured by, ready for JSON."""

    @abc.abstractmethod
    def __str__(self) -> str:
        """Returns what programs print."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_dict()` to a JSON file, atomically."""
        write_json(path, self.to_dict())


class TableResult(Result):
    """A result of which a file is a table: a row for each measurement."""

    @abc.abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Returns the figures of each measurement by name."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `rows()` to a CSV file, atomically."""
        write_table(path, [{name: str(value) for name, value in row.items()} for row in self.rows()])
