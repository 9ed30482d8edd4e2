"""The error that a user can mend, texts as they may be shown, the nearest known name, and the check of sizes."""

import difflib
from collections.abc import Iterable
from typing import Any


class UsageError(ValueError):
    """Something that was asked for cannot be done; the message says what was received and what to do.

    Programs print the message as one paragraph and exit with status 1; every other
    exception is a defect and keeps its traceback. Of a message that is longer than a paragraph the middle is left out,
    and names in it are shown as `printable` has them.

    >>> len(str(UsageError("9" * 10_000)))
    1000
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(shortened(printable(shortened(str(message), 4000)), 1000))


def printable(text: str) -> str:
    r"""Returns a text with escapes in place of what no terminal should be sent: control characters and broken Unicode.

    >>> print(printable("a\x1b[31m line\nand \udcff"))
    a\x1b[31m line
    and \udcff
    """
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shortened(text: str, most: int) -> str:
    """Returns a text, without its middle if it has more characters than `most`.

    >>> shortened("a long text", 9)
    'a l...ext'
    """
    if len(text) <= most:
        return text
    tail = (most - 3) // 4 if most > 100 else (most - 3) // 2
    return f"{text[: most - 3 - tail]}...{text[-tail:]}"


def reason_of(error: Exception, most: int = 400) -> str:
    r"""Returns what another library's error says, on one line and in `most` characters at most.

    >>> reason_of(ValueError("no\n  such thing"))
    'no such thing'
    """
    return shortened(" ".join(str(error).split()), most)


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """Returns the error for a name that is not among the known ones, with the nearest suggested.

    >>> print(unknown("operation", "sep_conv3", ["none", "sep_conv_3x3"]))
    Unknown operation 'sep_conv3'. Did you mean 'sep_conv_3x3'? Known: none, sep_conv_3x3.
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    comma = "; " if any("," in known for known in names) else ", "
    return UsageError(f"Unknown {kind} {name!r}.{hint} Known: {comma.join(names)}.")


def check_positive(**sizes: Any) -> None:
    """Checks that arguments, given by their names, are positive integers.

    Raises:
        UsageError: one is not.
    """
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
