"""Compares ways to search over several seeds: prints and writes WORKDIR/study.md, with study.png and study.json."""

from ml_collections import ConfigDict

from racl_tf.runs.program import run_program
from racl_tf.runs.shorthands import STUDY


def study(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.comparisons import run_study

    print(run_study(config, workdir).markdown())


def run() -> None:
    run_program(study, __doc__, config="study:cpu", shorthands=STUDY)


if __name__ == "__main__":
    run()
