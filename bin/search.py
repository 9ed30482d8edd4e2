"""Searches a robust architecture: writes genotype.json, its picture and the histories to WORKDIR/search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def search(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.search import run_search

    genotype = run_search(config, workdir)
    print(f"{genotype}\n{workdir}/{file_names.SEARCH}/{file_names.GENOTYPE}")


def run() -> None:
    run_program(search, __doc__, steps=("search",), setting_flags=lambda flags: flags.THREAT | flags.SEARCH)


if __name__ == "__main__":
    run()
