"""Searches a robust architecture: writes genotype.json, its picture and the histories to WORKDIR/search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program, wrote

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from racl_tf.runs.dry_run import DryRun


def search(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.search import run_search

    genotype = run_search(config, workdir)
    print(f"{genotype}\n")
    wrote(workdir, file_names.SEARCH, file_names.GENOTYPE, file_names.GENOTYPE_PICTURE, file_names.SEARCH_PICTURE)
    print(f"Next: racl-train --workdir={workdir}")


def dry_run(config: ConfigDict, workdir: str) -> DryRun:
    from racl_tf.runs.dry_run import dry_run_search

    return dry_run_search(config, workdir)


def run() -> None:
    run_program(
        search,
        __doc__,
        dry_run=dry_run,
        steps=("search",),
        setting_flags=lambda flags: flags.THREAT | flags.SEARCH | flags.CALLBACKS,
    )


if __name__ == "__main__":
    run()
