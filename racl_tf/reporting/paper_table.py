"""A table of the paper with our figures beside the published ones."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from racl_tf.errors import UsageError, unknown
from racl_tf.result import Result
from racl_tf.tables import markdown_table, markdown_text

_WIDEST = 5
_ROUNDING = 1e-9
_LEGEND = (
    'Each cell: ours / the paper\'s, and the 95% interval of ours in brackets; "-" is a figure that there is not. '
    "Percent, where a column names no other unit. Bold: the highest of ours, where its interval touches no other."
)


@dataclass(frozen=True)
class Measured:
    """One figure of ours, in the unit of its column: percent, or the unit that the column names.

    Arguments:
        value: the figure.
        low: lower end of its 95% interval, None where there is none, as for a number of parameters.
        high: upper end of it, None where `low` is.

    Raises:
        UsageError: only one end is given, or the value lies outside the interval (or is NaN).
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise UsageError(f"An interval has two ends, or there is none. Received: low={self.low}, high={self.high}.")
        low, high = self.interval or (self.value, self.value)
        if not low - _ROUNDING <= self.value <= high + _ROUNDING:
            raise UsageError(
                f"A figure must be a number inside its interval, in the same unit. Received: {self.value} with "
                f"the interval {low} to {high}."
            )

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the interval, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class PaperTable(Result):
    """Figures of ours by row and column, each beside the paper's; what was not measured stays blank.

    Figures are in percent, except in columns whose names end in a unit in brackets, such as "Params (M)". Columns
    whose names start with the same word before ": ", such as "AT: Clean" and "AT: FGSM", are a group.

    Arguments:
        title: of the table.
        rows: names in order.
        columns: names in order.
        measured: our figures by (row, column).
        published: the paper's by (row, column); what it lacks is absent.
        notes: what differs from the paper (scale, data, command, time, versions), each a line of Markdown below.

    Raises:
        UsageError: a figure's row or column is none of the table's.

    >>> ours = {("RACL", "Clean"): Measured(52.1, 49.0, 55.2), ("RACL", "FGSM"): Measured(31.5, 28.7, 34.4)}
    >>> table = PaperTable("Table 1", ("RACL",), ("Clean", "FGSM"), ours, {("RACL", "Clean"): 97.44})
    >>> print(table.markdown().splitlines()[-1])
    | RACL | 52.1 / 97.44<br>[49.0, 55.2] | 31.5 / -<br>[28.7, 34.4] |
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    measured: Mapping[tuple[str, str], Measured]
    published: Mapping[tuple[str, str], float]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row, column in (*self.measured, *self.published):
            if row not in self.rows:
                raise unknown("row", row, self.rows)
            if column not in self.columns:
                raise unknown("column", column, self.columns)

    @property
    def blocks(self) -> tuple[tuple[str, ...], ...]:
        """The columns in parts that fit the width of a page: each group in the fewest of at most five columns."""
        groups: list[list[str]] = [[]]
        group = None
        for column in self.columns:
            previous, group = group, column.rpartition(": ")[0] if in_percent(column) else group
            if previous not in (None, group):
                groups.append([])
            groups[-1].append(column)
        return tuple(part for columns in groups for part in _parts(tuple(columns)))

    def best(self, column: str) -> str | None:
        """Returns the row of our highest figure in a column, None if its interval touches another's or one has none."""
        if column not in self.columns:
            raise unknown("column", column, self.columns)
        ours = {row: figure.interval for (row, of), figure in self.measured.items() if of == column}
        intervals = {row: interval for row, interval in ours.items() if interval}
        if len(intervals) < max(2, len(ours)):
            return None
        first = max(intervals, key=lambda row: intervals[row])
        highest = max(high for row, (_, high) in intervals.items() if row != first)
        return first if intervals[first][0] > highest else None

    def markdown(self) -> str:
        """Returns the page of the table: title, legend, a table for each of the blocks, notes."""
        parts = [f"## {markdown_text(self.title)}", _LEGEND, *map(self._table, self.blocks)]
        if self.notes:
            parts.append("\n".join(f"* {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Returns everything, ready for JSON; `cells` are those that have a figure, row by row."""
        cells = []
        for place in ((row, column) for row in self.rows for column in self.columns):
            ours, published = self.measured.get(place), self.published.get(place)
            if ours is not None or published is not None:
                measured = ours and {"value": ours.value, "interval": ours.interval}
                cells.append({"row": place[0], "column": place[1], "measured": measured, "published": published})
        return {
            "title": self.title,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "cells": cells,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return self.markdown()

    def _table(self, columns: tuple[str, ...]) -> str:
        cells = [self._column(column) for column in columns]
        return markdown_table(["", *columns], zip(self.rows, *cells, strict=True))

    def _column(self, column: str) -> list[str]:
        """Returns the cells of a column; the paper's figures have as many decimals as the longest of them."""
        published = [str(figure) for (_, of), figure in self.published.items() if of == column]
        decimals = max((len(figure.partition(".")[2]) for figure in published), default=0)
        best, form = self.best(column), ".1f" if in_percent(column) else ".2f"
        cells = []
        for row in self.rows:
            ours, paper = self.measured.get((row, column)), self.published.get((row, column))
            left, below = "-", ""
            if ours:
                left = f"**{ours.value:{form}}**" if row == best else f"{ours.value:{form}}"
                below = f"<br>[{', '.join(f'{end:{form}}' for end in ours.interval)}]" if ours.interval else ""
            right = "-" if paper is None else f"{paper:.{decimals}f}"
            cells.append("-" if left == right == "-" else f"{left} / {right}{below}")
        return cells


def in_percent(column: str) -> bool:
    """Returns whether a column's figures are percentages: its name does not end in another unit in brackets.

    >>> in_percent("AT: Clean"), in_percent("Params (M)")
    (True, False)
    """
    return not column.endswith(")")


def _parts(columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yields columns in the fewest parts of at most `_WIDEST`, all but the last of one width.

    >>> [len(part) for part in _parts(tuple("abcdef"))]
    [3, 3]
    """
    width = math.ceil(len(columns) / math.ceil(len(columns) / _WIDEST)) if columns else 1
    for start in range(0, len(columns), width):
        yield columns[start : start + width]
