"""Measures robust accuracy over the radius and over PGD's steps: writes curves and pictures to WORKDIR/sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program, wrote

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def sweep(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.sweep import run_sweep

    for name, curve in run_sweep(config, workdir).items():
        print(f"\n{name}\n{curve}")
    wrote(workdir, file_names.SWEEP, file_names.EPS_PICTURE, file_names.STEPS_PICTURE, file_names.RESULTS)


def run() -> None:
    run_program(
        sweep,
        __doc__,
        steps=("search", "train", "evaluate", "sweep"),
        setting_flags=lambda flags: flags.MODEL | flags.THREAT | flags.IMAGES | flags.SWEEP,
    )


if __name__ == "__main__":
    run()
