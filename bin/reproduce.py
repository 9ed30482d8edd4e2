"""Reproduces the paper's tables and figures, ours beside the paper's: writes WORKDIR/table1.md, .png and .json, ...

Settings are by data set: --config.cifar10.train.epochs=3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf.runs.command_line import run_program

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def reproduce(config: ConfigDict, workdir: str) -> None:
    from racl_tf.reproduction.runs import run_reproduction

    for path in run_reproduction(config, workdir):
        print(f"\n{path.read_text()}\n{path}")
    if config.shard:
        print("Pages are made without --shard, once all shares are.")


def run() -> None:
    run_program(reproduce, __doc__, config="reproduction:cpu", setting_flags=lambda flags: flags.REPRODUCTION)


if __name__ == "__main__":
    run()
