"""Compares ways to search over several seeds: prints and writes WORKDIR/study.md, with study.png and study.json."""

from ml_collections import ConfigDict

from racl_tf.runs.command_line import run_program
from racl_tf.runs.flags import STUDY


def study(config: ConfigDict, workdir: str) -> None:
    from racl_tf.reproduction.runs import run_study

    print(run_study(config, workdir))


def run() -> None:
    run_program(study, __doc__, config="study:cpu", setting_flags=STUDY)


if __name__ == "__main__":
    run()
