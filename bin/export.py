"""Exports the trained network, by default as a SavedModel, with a model card: writes WORKDIR/saved_model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf.runs.command_line import run_program

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def export(config: ConfigDict, workdir: str) -> None:
    from racl_tf.reporting.model_card import TAKES, USES
    from racl_tf.runs.export import run_export

    print()
    for name, (path, difference) in run_export(config, workdir).items():
        print(f"Written to {path}; read again, it gives the same logits but for {difference:.1e}.")
        print(f"Next: {USES[name].format(path=path)}, {TAKES[name]}")


def run() -> None:
    run_program(export, __doc__, steps=("search", "train"), setting_flags=lambda flags: flags.THREAT | flags.EXPORT)


if __name__ == "__main__":
    run()
