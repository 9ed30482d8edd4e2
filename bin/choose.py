"""Chooses among the architectures that WORKDIR's search draws: prints a table, writes WORKDIR/choose/genotype.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program, wrote

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def choose(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.choose import run_choice

    print(f"\n{run_choice(config, workdir)}\n")
    wrote(workdir, file_names.CHOOSE, file_names.GENOTYPE, file_names.GENOTYPE_PICTURE, file_names.SAMPLING_TEXT)
    genotype = f"{workdir}/{file_names.CHOOSE}/{file_names.GENOTYPE}"
    print(f"Next: racl-train --network={genotype} --workdir={workdir}")


def run() -> None:
    run_program(choose, __doc__, steps=("search", "choose"), setting_flags=lambda flags: flags.THREAT | flags.CHOICE)


if __name__ == "__main__":
    run()
