"""Whether RACL's cells are better than others', at an equal budget and over several seeds.

- `study`: the paper's settings on CIFAR-10, for machines with GPUs.
- `study:cpu`: on a part of MNIST at 16x16 with small networks, trained by FGSM from a random start; 48 networks, 3 to
  4 hours on two CPU cores with `--jobs=2`.
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
        "data.train_size": 5500,
        "data.image_size": 16,
        "attack.eps": 0.1,  # at 0.3 networks of this size learn nothing that stands
        "attack.step_size": 0.025,
        "search.channels": 8,
        "search.cells": 4,
        "search.epochs": 4,
        "search.warmup_epochs": 1,
        "search.batch_size": 32,
        "search.architecture_learning_rate": 2e-2,
        "train.channels": 8,
        "train.cells": 4,
        "train.epochs": 8,
        "train.batch_size": 32,
        "train.held_out": 500,
        "train.defence": "fgsm_rs",
        "study.seeds": 8,
        "study.check": "apgd",  # a ninth of the steps of APGD-T, which would take as long as the trainings
        "study.variants": (
            "RACL printed, matrix norms",
            "RACL, matrix norms",
            "RACL scale-free, matrix norms",
            "without confidence learning",
            "PC-DARTS",
            "random cells",
        ),
    }
    smoke = {**DATASETS["digits"], **SMOKE, "study.seeds": 2, "study.attacks": ("pgd10",)}
    spread = {**cpu, "study.trainings": 2, "study.lengths": (2, 5)}
    return variant_settings(config, variant, {"paper": {}, "cpu": cpu, "spread": spread, "smoke": smoke})
