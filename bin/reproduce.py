"""Reproduces the paper's tables and figures, ours beside the paper's: writes WORKDIR/table1.md, .png and .json, ...

Settings are by data set: --config.cifar10.train.epochs=3.
"""

from ml_collections import ConfigDict

from racl_tf.runs.command_line import run_program
from racl_tf.runs.flags import REPRODUCTION


def reproduce(config: ConfigDict, workdir: str) -> None:
    from racl_tf.reproduction.runs import run_reproduction

    for path in run_reproduction(config, workdir):
        print(f"\n{path.read_text()}\n{path}")


def run() -> None:
    run_program(reproduce, __doc__, config="reproduction:cpu", setting_flags=REPRODUCTION)


if __name__ == "__main__":
    run()
