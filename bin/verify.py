"""Recounts an evaluation from the adversarial images it kept, without an attack: ends with status 1 if any is wrong."""

from __future__ import annotations

import argparse

from racl_tf.runs.command_line import run_viewer


def verify(arguments: argparse.Namespace) -> None:
    from racl_tf.runs.flags import numbers
    from racl_tf.runs.verify import run_verification

    bounds = numbers(arguments.bounds) if arguments.bounds else None
    evaluation = run_verification(arguments.folder, arguments.model, bounds)
    fallen = evaluation.count("clean") - evaluation.count("worst_case")
    print(evaluation)
    print(
        f"All holds: {fallen} adversarial images are in the ball and misclassified, and all figures are as recounted."
    )


def define(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="BUNDLE",
        help="the folder that racl-evaluate --keep_adversarial wrote",
    )
    parser.add_argument("--model", required=True, help="the evaluated model: a .keras file or a SavedModel's folder")
    parser.add_argument(
        "--bounds", metavar="LOW,HIGH", help="the model's inputs for black and for white, such as 0,255"
    )


def run() -> None:
    run_viewer(verify, __doc__, define=define)


if __name__ == "__main__":
    run()
