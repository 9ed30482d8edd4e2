"""Trains the searched network (or --config.train.network) under a defence: writes WORKDIR/train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program, wrote

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from racl_tf.runs.dry_run import DryRun


def train(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.train import run_training

    run_training(config, workdir)
    wrote(workdir, file_names.TRAIN, file_names.BEST_NETWORK, file_names.HISTORY, file_names.TRAIN_PICTURE)
    print(f"Next: racl-evaluate --workdir={workdir}")


def dry_run(config: ConfigDict, workdir: str) -> DryRun:
    from racl_tf.runs.dry_run import dry_run_training

    return dry_run_training(config, workdir)


def run() -> None:
    run_program(
        train,
        __doc__,
        dry_run=dry_run,
        steps=("search", "train"),
        setting_flags=lambda flags: flags.THREAT | flags.TRAIN | flags.CALLBACKS,
    )


if __name__ == "__main__":
    run()
