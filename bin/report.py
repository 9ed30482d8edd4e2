"""Shows a run, or several side by side, on one page that needs no network: writes WORKDIR/report.html."""

from __future__ import annotations

import argparse

from racl_tf import file_names
from racl_tf.runs.command_line import run_viewer


def report(arguments: argparse.Namespace) -> None:
    from racl_tf.runs.report import run_report

    print(f"Written to {run_report(arguments.workdirs, arguments.out)}, which any browser shows.")


def define(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workdirs",
        nargs="+",
        metavar="WORKDIR",
        help="the folder of a run, of one of its steps, or of several runs; more than one are shown side by side",
    )
    parser.add_argument(
        "--out", metavar="FILE", help=f"the file to write; by default {file_names.REPORT} in the first WORKDIR"
    )


def run() -> None:
    run_viewer(report, __doc__, define=define)


if __name__ == "__main__":
    run()
