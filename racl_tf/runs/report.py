"""The report of a run, or of several side by side, as one page."""

import os
import pathlib
from collections.abc import Sequence

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.files import write_text
from racl_tf.reporting.report import MARK, render_report
from racl_tf.reporting.run_record import find_runs


def run_report(workdirs: Sequence[str], out: str | None = None) -> pathlib.Path:
    """Writes the report of some runs as one HTML file that needs no other, and returns its path.

    Arguments:
        workdirs: folders of runs, of their steps, or of several runs.
        out: the file; report.html in the first folder if not given.

    Raises:
        UsageError: a folder is missing or holds no run, or the file is there and is no report.
    """
    if not workdirs:
        raise UsageError("There is nothing to report on. Give the folder of a run: racl-report runs/mine.")
    path = pathlib.Path(out or os.path.join(workdirs[0], file_names.REPORT)).expanduser()
    runs = find_runs(workdirs)
    check_ours(path)
    try:
        write_text(path, render_report(runs))
    except OSError as error:
        raise UsageError(f"The report cannot be written: {error}. Give another file by --out.") from None
    return path


def check_ours(path: pathlib.Path) -> None:
    """Checks that a file is not there or is a report, which may be written anew.

    Raises:
        UsageError: it is something else.
    """
    if not path.exists():
        return
    try:
        ours = path.is_file() and MARK in path.read_text(encoding="utf-8")[:200]
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise UsageError(
            f"{str(path)!r} is there and is not a report that this program wrote. Give another file: --out=other.html."
        )
