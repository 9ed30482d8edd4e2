"""Trains the searched network (or --config.train.network) under a defence: writes WORKDIR/train."""

from ml_collections import ConfigDict

from racl_tf.runs.command_line import run_program


def train(config: ConfigDict, workdir: str) -> None:
    from racl_tf.runs.train import run_training

    print(run_training(config, workdir))


def run() -> None:
    run_program(train, __doc__, config="cifar10:cpu")


if __name__ == "__main__":
    run()
