"""Does all of it on small real images: search, adversarial training, attack, export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def quickstart(config: ConfigDict, workdir: str) -> None:
    import rich

    from racl_tf.reporting import render_text
    from racl_tf.runs.quickstart import run_quickstart

    made = run_quickstart(config, workdir)
    masking = ", ".join(made.masking.suspicious) if made.masking else "not looked for"
    print()
    rich.print(render_text(made.genotype))
    print(f"\nDrawing:    {workdir}/{file_names.SEARCH}/{file_names.GENOTYPE_PICTURE}\n\n{made.evaluation}")
    print(f"Signs of gradient masking: {masking or 'none'}")
    print(f"SavedModel: {made.saved_model} (reloaded: logits differ by at most {made.difference:.1e})")


def run() -> None:
    run_program(
        quickstart,
        __doc__,
        config="digits",
        steps=("search", "train", "evaluate"),
        setting_flags=lambda flags: flags.THREAT,
    )


if __name__ == "__main__":
    run()
