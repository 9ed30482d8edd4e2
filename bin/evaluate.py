"""Attacks the trained network on the test set: prints a table and writes WORKDIR/evaluate/results.json."""

from ml_collections import ConfigDict

from racl_tf.runs.program import run_program


def evaluate(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.steps import run_evaluation

    print(run_evaluation(config, workdir))


def run() -> None:
    run_program(evaluate, __doc__, config="cifar10:cpu")


if __name__ == "__main__":
    run()
