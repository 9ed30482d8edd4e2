"""Makes a run again from its settings; with --check it names the first value that differs, and ends with status 1."""

from __future__ import annotations

import argparse

from racl_tf.runs.command_line import run_viewer


def rerun(arguments: argparse.Namespace) -> None:
    from racl_tf.errors import UsageError
    from racl_tf.runs.rerun import run_rerun

    compared = run_rerun(arguments.folder, arguments.workdir, check=arguments.check)
    if compared is not None and compared.differences:
        raise UsageError(str(compared))
    print(compared or f"Made again in {arguments.workdir}.")


def define(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="the folder of a run, or of one of its steps")
    parser.add_argument("--check", action="store_true", help="compare what comes about with what there was")
    parser.add_argument(
        "--workdir", help="the folder where it is made again; with --check by default a temporary one, which is removed"
    )


def run() -> None:
    run_viewer(rerun, __doc__, define=define)


if __name__ == "__main__":
    run()
