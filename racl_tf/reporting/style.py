"""The one look of all pictures: colours, lines, letters and the resolution."""

import contextlib
from collections.abc import Iterator
from typing import Any

import matplotlib
from cycler import cycler

INK, GROUND = "#222222", "#f3f5f8"
BLUE, ORANGE = "#2f6db3", "#c8571b"
_OTHERS = ("#3a8f5c", "#8a5bb0", "#c9a227", "#c2477f", "#5c6b7a", "#45a3ad")

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, *_OTHERS]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "font.size": 10.0,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "savefig.dpi": 140,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextlib.contextmanager
def picture_style(*, math: bool = False) -> Iterator[None]:
    """Gives what is drawn inside the look of all pictures; a decorator of the functions that draw them.

    Arguments:
        math: whether what stands between dollar signs is a formula, which names of a user's must not be.

    >>> from matplotlib.figure import Figure
    >>> with picture_style():
    ...     Figure().subplots().spines["top"].get_visible()
    False
    """
    with matplotlib.rc_context({**_STYLE, "text.parse_math": math}):
        yield
