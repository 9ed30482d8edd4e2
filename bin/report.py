"""Shows a run, or several side by side, on one page that needs no network: writes WORKDIR/report.html."""

from __future__ import annotations

import argparse

from racl_tf import file_names
from racl_tf.runs.command_line import run_viewer


def report(arguments: argparse.Namespace) -> None:
    if arguments.robustbench:
        write_entry(arguments)
        return
    from racl_tf.runs.report import run_report

    print(f"Written to {run_report(arguments.workdirs, arguments.out)}, which any browser shows.")


def write_entry(arguments: argparse.Namespace) -> None:
    from racl_tf.errors import UsageError
    from racl_tf.runs.robustbench import write_robustbench

    if len(arguments.workdirs) > 1:
        raise UsageError("--robustbench takes one WORKDIR, that of an evaluation.")
    path, by_hand = write_robustbench(arguments.workdirs[0], arguments.out)
    print(f"Written to {path}. To be filled in by hand: {', '.join(by_hand)}.")


def define(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workdirs",
        nargs="+",
        metavar="WORKDIR",
        help="the folder of a run, of one of its steps, or of several runs; more than one are shown side by side",
    )
    parser.add_argument(
        "--robustbench",
        action="store_true",
        help=f"write evaluate/{file_names.ROBUSTBENCH}, the entry of RobustBench's leaderboard, in place of the page",
    )
    parser.add_argument(
        "--out", metavar="FILE", help=f"the file to write; by default {file_names.REPORT} in the first WORKDIR"
    )


def run() -> None:
    run_viewer(report, __doc__, define=define)


if __name__ == "__main__":
    run()
