"""Compares ways to search over several seeds: prints and writes WORKDIR/study.md, with study.png and study.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf.runs.command_line import run_program

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def study(config: ConfigDict, workdir: str) -> None:
    from racl_tf.reproduction.runs import run_spread, run_study, run_study_share

    if config.study.shard:
        run_study_share(config, workdir)
        print("The page is made without --shard, once all shares are.")
    else:
        print((run_spread if config.study.trainings else run_study)(config, workdir))


def run() -> None:
    run_program(study, __doc__, config="study:cpu", setting_flags=lambda flags: flags.STUDY)


if __name__ == "__main__":
    run()
