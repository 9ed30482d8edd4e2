"""Chooses among the architectures that WORKDIR's search draws: prints a table, writes WORKDIR/choose/genotype.json."""

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.runs.command_line import run_program
from racl_tf.runs.flags import CHOICE


def choose(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.choose import run_choice

    print(f"\n{run_choice(config, workdir)}\n{workdir}/{file_names.CHOOSE}/{file_names.GENOTYPE}")


def run() -> None:
    run_program(choose, __doc__, config="cifar10:cpu", setting_flags=CHOICE)


if __name__ == "__main__":
    run()
