"""Does all of it on small real images: search, adversarial training, attack, export."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program, wrote

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def quickstart(config: ConfigDict, workdir: str) -> None:
    import rich

    from racl_tf.reporting import render_text
    from racl_tf.runs.quickstart import run_quickstart

    made = run_quickstart(config, workdir)
    print()
    rich.print(render_text(made.genotype))
    print(f"\n{made.evaluation}")
    print(f"{made.masking.summary() if made.masking else 'Signs of gradient masking were not looked for.'}\n")
    wrote(
        workdir,
        "",
        f"{file_names.SEARCH}/{file_names.GENOTYPE_PICTURE}",
        f"{file_names.SEARCH}/{file_names.SEARCH_PICTURE}",
        f"{file_names.TRAIN}/{file_names.TRAIN_PICTURE}",
        f"{file_names.TRAIN}/{file_names.BEST_NETWORK}",
        f"{file_names.EVALUATE}/{file_names.RESULTS}",
        *(os.path.basename(exported.path) for exported in made.exports.values()),
    )
    for exported in made.exports.values():
        print(f"{exported.path}, read again, gives the same logits but for {exported.difference:.1e}.")
    print(f"Next: racl-sweep --workdir={workdir}, or a search of your own: racl-search --help")


def run() -> None:
    run_program(
        quickstart,
        __doc__,
        config="digits",
        steps=("search", "train", "evaluate"),
        setting_flags=lambda flags: flags.THREAT | flags.CALLBACKS,
    )


if __name__ == "__main__":
    run()
