"""Exports the trained network as a SavedModel with signatures: writes WORKDIR/saved_model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf.runs.command_line import run_program

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def export(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.export import run_export

    path, difference = run_export(config, workdir)
    print(f"\nWritten to {path}; read again, it gives the same logits but for {difference:.1e}.")
    print(f"Next: tf.saved_model.load({str(path)!r}).signatures['serving_default'](images=...), images in [0, 1]")


def run() -> None:
    run_program(export, __doc__, steps=("search", "train"), setting_flags=lambda flags: flags.THREAT)


if __name__ == "__main__":
    run()
