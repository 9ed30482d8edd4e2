"""Tables as text."""

import io

from rich.console import Console
from rich.table import Table


def as_text(table: Table, *, width: int = 120) -> str:
    """Returns a table as the terminal shows it, without colours, in lines of at most `width` characters."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
