"""Tables as text.

Results hand on a table as a plain value, `TextTable`, and how it is laid out is decided here alone: beside
`racl_tf.reporting`, this is the only module of the library that knows rich, so that what computes figures does not
depend on how they are shown.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH = 120  # characters of a line at most


@dataclass(frozen=True)
class TextTable:
    """A table that `str` lays out for a terminal, without colours, in lines of at most 120 characters.

    Arguments:
        title: the line above the table.
        columns: the headings.
        rows: a text for each column.
        left: the headings of the columns that are aligned to the left, as words are; numbers go to the right.
        caption: the lines below the table.

    >>> print(TextTable("2 images, seed 0", ("attack", "%"), (("clean", "100"), ("fgsm", "50")), left=("attack",)))
    2 images, seed 0
    +--------+-----+
    | attack |   % |
    +--------+-----+
    | clean  | 100 |
    | fgsm   |  50 |
    +--------+-----+
    <BLANKLINE>
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[str, ...] = ()
    caption: str = ""

    def __str__(self) -> str:
        table = Table(title=self.title, caption=self.caption, caption_justify="left", box=box.ASCII2)
        for heading in self.columns:
            table.add_column(heading, justify="left" if heading in self.left else "right")
        for row in self.rows:
            table.add_row(*row)
        console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, force_jupyter=False)
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
