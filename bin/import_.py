"""Converts a PyTorch checkpoint of the code of DARTS or PC-DARTS to a network that racl_tf loads: writes a folder."""

from __future__ import annotations

import argparse
import shlex

from racl_tf.runs.command_line import run_viewer


def import_checkpoint(arguments: argparse.Namespace) -> None:
    from racl_tf.runs.import_checkpoint import run_import

    path, summary = run_import(
        arguments.checkpoint,
        arguments.genotype,
        arguments.out,
        mean=arguments.mean,
        std=arguments.std,
        image_size=arguments.image_size,
    )
    print(f"Written to {path}: {summary}")
    print(f"Next: racl-evaluate --model={shlex.quote(str(path))} --dataset=cifar10 --workdir=runs/imported")


def define(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="the state dict of a NetworkCIFAR: .safetensors, or .pt, .pth or .tar, read by torch without running it",
    )
    parser.add_argument(
        "--genotype", required=True, help="that the network was made of: a published one or a genotype's .json file"
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the folder to create")
    parser.add_argument("--mean", help="taken off pixels in [0, 1], numbers with commas; by default CIFAR-10's")
    parser.add_argument("--std", help="which images are then divided by, likewise; --mean=0 --std=1 for pixels as such")
    parser.add_argument("--image_size", type=int, default=32, help="height and width of images; 32 by default")


def run() -> None:
    run_viewer(import_checkpoint, __doc__, define=define)


if __name__ == "__main__":
    run()
