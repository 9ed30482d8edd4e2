"""Whether RACL's cells are better than others', at an equal budget and over several seeds.

- `study`: the paper's settings on CIFAR-10, for machines with GPUs.
- `study:cpu`: on a part of MNIST with small networks; about an hour and a half on two CPU cores.
- `study:spread`: what of the spread of `study:cpu` lies between cells, which tells what it can rank.
- `study:smoke`: every step once on digits, in a few minutes.
- `study:printed`, `study:cpu-printed`, ...: with the constraint to the paper's letter.
"""

from ml_collections import ConfigDict

from racl_tf.settings import CPU, DATASETS, SMOKE, paper_settings, variant_settings


def get_config(variant: str = "paper") -> ConfigDict:
    config = paper_settings()
    cpu = {
        **CPU,
        **DATASETS["mnist"],
        "data.train_size": 2000,
        "search.channels": 8,
        "search.cells": 4,
        "search.epochs": 5,
        "search.warmup_epochs": 1,
        "search.batch_size": 32,
        "search.architecture_learning_rate": 1e-2,
        "train.channels": 8,
        "train.cells": 4,
        "train.epochs": 3,
        "train.batch_size": 32,
        "train.held_out": 100,
    }
    smoke = {**DATASETS["digits"], **SMOKE, "study.seeds": 2, "study.attacks": ("pgd10",)}
    spread = {**cpu, "study.trainings": 3}
    return variant_settings(config, variant, {"paper": {}, "cpu": cpu, "spread": spread, "smoke": smoke})
