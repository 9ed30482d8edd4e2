"""Tables as text."""

import io
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def as_text(table: Table, *, width: int = 120) -> str:
    """Returns a table as the terminal shows it, without colours, in lines of at most `width` characters."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_jupyter=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown: the first column to the left, the others to the right.

    >>> print(markdown_table(["attack", "%"], [["fgsm", "31.5"]]))
    | attack | % |
    | --- | ---: |
    | fgsm | 31.5 |
    """
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
