"""Attacks a model on test images: prints a table, writes outcomes.npz and results.json to WORKDIR/evaluate."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from racl_tf import file_names
from racl_tf.runs.command_line import run_program, wrote

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def evaluate(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.evaluate import corruption_errors, run_evaluation

    evaluation, masking = run_evaluation(config, workdir)
    print(f"\n{evaluation}")
    if masking is not None:
        print(f"{masking.summary()}\n")
    if config.evaluate.corruptions:
        print(corruption_errors(workdir))
    wrote(
        workdir, file_names.EVALUATE, file_names.RESULTS, file_names.OUTCOMES, file_names.IMAGES, file_names.CORRUPTIONS
    )
    if config.evaluate.keep_adversarial:
        bundle = os.path.join(workdir, file_names.EVALUATE, file_names.BUNDLE)
        model = config.evaluate.model or os.path.join(workdir, file_names.TRAIN, file_names.BEST_NETWORK)
        bounds = (
            ""
            if config.evaluate.bounds == (0, 1)
            else f" --bounds={','.join(map('{:g}'.format, config.evaluate.bounds))}"
        )
        print(f"To recount it: racl-verify {shlex.quote(bundle)} --model={shlex.quote(model)}{bounds}")
    if not config.evaluate.model:
        print(f"Next: racl-export --workdir={workdir}")


def run() -> None:
    run_program(
        evaluate,
        __doc__,
        steps=("search", "train", "evaluate"),
        setting_flags=lambda flags: flags.MODEL | flags.THREAT | flags.IMAGES | flags.ATTACKS | flags.EVALUATE,
    )


if __name__ == "__main__":
    run()
