"""Crafts images on some models and shows them to all: writes the accuracies and a picture to WORKDIR/transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program, wrote

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def transfer(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.transfer import run_transfer

    print(f"\n{run_transfer(config, workdir)}")
    wrote(workdir, file_names.TRANSFER, file_names.TRANSFER_TABLE, file_names.TRANSFER_PICTURE, file_names.RESULTS)


def run() -> None:
    run_program(
        transfer,
        __doc__,
        steps=("search", "train", "evaluate", "transfer"),
        setting_flags=lambda flags: flags.THREAT | flags.IMAGES | flags.TRANSFER,
    )


if __name__ == "__main__":
    run()
