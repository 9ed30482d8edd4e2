"""Tables as text, and names as they may stand in them.

Results hand on a table as a plain value, `TextTable`, and how it is laid out is decided here alone: beside
`racl_tf.reporting`, this is the only module of the library that knows rich, so that what computes figures does not
depend on how they are shown.

Names of classes, networks and files are a user's, or a stranger's. They are shown letter by letter: `TextTable` knows
no markup, and `printable` and `markdown_text` make harmless what terminals and Markdown take for more than letters.
"""

import io
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from racl_tf.errors import printable

_WIDTH = 120  # characters of a line at most, and fewer in a narrower terminal


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
        title, caption = printable(self.title), printable(self.caption)
        table = Table(title=title, caption=caption, caption_justify="left", box=box.ASCII2)
        for heading in self.columns:
            table.add_column(printable(heading), justify="left" if heading in self.left else "right")
        for row in self.rows:
            table.add_row(*map(printable, row))
        width = min(_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _WIDTH
        console = Console(
            file=io.StringIO(),
            width=width,
            color_system=None,
            force_jupyter=False,
            markup=False,
            emoji=False,
            highlight=False,
        )
        with console.capture() as capture:
            console.print(table)
        return capture.get()


def format_radius(eps: float) -> str:
    """Returns a radius as people write it: a short decimal number, or a fraction of 255.

    >>> format_radius(0.1), format_radius(8 / 255), format_radius(76.5 / 255), format_radius(0.12345)
    ('0.1', '8/255', '0.3', '0.1235')
    """
    short, level = f"{eps:.4g}", eps * 255
    exact = abs(float(short) - eps) < 1e-9
    return short if exact or abs(level - round(level)) > 1e-6 or not level else f"{round(level)}/255"


def markdown_text(text: str) -> str:
    """Returns a text in one line of Markdown that shows it letter by letter.

    >>> print(markdown_text("pgd_20 of <b>*all*</b>"))
    pgd_20 of &#60;b>&#42;all&#42;&#60;/b>
    """
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", " ".join(printable(text).split()))


# An underscore inside a word marks nothing, nor do a backslash before a letter or a space and an ampersand alone.
_MARKUP = re.compile(r"[`*\[\]<$~]|\\(?=[!-/:-@\[-`{-~])|&(?=[#\w])|(?<!\w)_|_(?!\w)")

_BAR = "\\|"  # a vertical bar that ends no cell


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Returns a table in Markdown: the first column to the left, the others to the right.

    Arguments:
        heading: the names of the columns, shown letter by letter.
        rows: each with its name, shown likewise, and its figures, which may hold markup.

    >>> print(markdown_table(["attack", "%"], [["fgsm", "**31.5**"], ["a|b", "7.0"]]))
    | attack | % |
    | --- | ---: |
    | fgsm | **31.5** |
    | a\|b | 7.0 |
    """
    named = [[markdown_text(name), *figures] for name, *figures in rows]
    lines = [list(map(markdown_text, heading)), ["---", *["---:"] * (len(heading) - 1)], *named]
    return "\n".join(f"| {' | '.join(cell.replace('|', _BAR) for cell in line)} |" for line in lines)
