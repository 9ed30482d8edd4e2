"""Draws a genotype's cells as PNG or SVG, or writes them as a graph in DOT, which Graphviz lays out."""

from __future__ import annotations

import argparse

from racl_tf.runs.command_line import run_viewer


def draw(arguments: argparse.Namespace) -> None:
    from racl_tf.runs.draw import run_drawing

    print(f"Written to {run_drawing(arguments.genotype, arguments.out)}.")


def define(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "genotype",
        metavar="GENOTYPE",
        help="a published one (racl, darts, pc_darts, ...), a genotype's .json file, or the folder of a run",
    )
    parser.add_argument(
        "--out", metavar="FILE", default="cell.png", help="the file to write: .png, .svg or .dot; by default cell.png"
    )


def run() -> None:
    run_viewer(draw, __doc__, define=define)


if __name__ == "__main__":
    run()
