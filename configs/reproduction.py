"""The paper's tables and figures, at a scale chosen by name.

- `reproduction`: the paper's settings, for machines with GPUs.
- `reproduction:cpu`: on parts of CIFAR-10, CIFAR-100 and MNIST with small networks, about an hour a table on two cores.
- `reproduction:smoke`: every step once on digits, in minutes.
- `reproduction:printed`, `reproduction:cpu-printed`, ...: with the constraint to the paper's letter.

`config.cifar10`, `config.mnist`, ... hold the settings of each data set as `racl_tf.settings.paper_settings` names
them: `--config.mnist.train.epochs=5`.
"""

from ml_collections import ConfigDict

from racl_tf.settings import CPU, DATASETS, SMOKE, paper_settings, variant_settings

_SMALL = {
    **CPU,
    "data.train_size": 2500,
    "search.channels": 8,
    "search.cells": 4,
    "search.epochs": 5,
    "search.warmup_epochs": 1,
    "search.batch_size": 32,
    "search.architecture_learning_rate": 1e-2,
    "train.channels": 8,
    "train.cells": 4,
    "train.epochs": 4,
    "train.batch_size": 32,
    "train.held_out": 100,
}


def get_config(scale: str = "paper") -> ConfigDict:
    names = ("digits",) if scale.startswith("smoke") else ("cifar10", "cifar100", "mnist")
    small = {"paper": {}, "cpu": _SMALL, "smoke": SMOKE}
    config = ConfigDict()
    config.exhibits = ()  # table1, ..., table5, figure2, figure3
    config.datasets = names  # of Table 4; everything else is of the first
    config.networks = ()  # your own, as NAME=PATH: genotypes' .json files, trained .keras files or SavedModels
    for name in names:
        settings = paper_settings()
        settings.update_from_flattened_dict(DATASETS[name])
        config[name] = variant_settings(settings, scale, small)
    return config
