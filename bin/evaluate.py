"""Attacks a model on test images: prints a table, writes outcomes.npz and results.json to WORKDIR/evaluate."""

from ml_collections import ConfigDict

from racl_tf.runs.command_line import run_program
from racl_tf.runs.flags import ATTACKS, MODEL, THREAT


def evaluate(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.evaluate import run_evaluation

    evaluation, masking = run_evaluation(config, workdir)
    print(f"\n{evaluation}")
    if masking is not None:
        print(masking)


def run() -> None:
    run_program(evaluate, __doc__, config="cifar10", setting_flags=MODEL | THREAT | ATTACKS)


if __name__ == "__main__":
    run()
