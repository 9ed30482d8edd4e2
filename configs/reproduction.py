"""The paper's tables and figures, at a scale chosen by name.

- `reproduction`: the paper's settings, for machines with GPUs.
- `reproduction:wsr`: the recipe of training by which authors of the paper trained RACL's cell again, in the repository
  Wsr-NAS, on CIFAR-10: 200 epochs in batches of 64, the learning rate divided by 10 at epochs 100 and 150, weight decay
  1e-4, PGD-7 with eps 0.031. For machines with GPUs, about twice as long as the paper's.
- `reproduction:cpu`: on parts of CIFAR-10, CIFAR-100 and MNIST with small networks, about an hour a table on two cores.
- `reproduction:dynamics`: searches alone, of more steps, on images of 16x16 of CIFAR-10 and MNIST; an hour or two.
- `reproduction:smoke`: every step once on digits, in minutes.
- `reproduction:printed`, `reproduction:wsr-printed`, ...: with the constraint to the paper's letter.

`config.cifar10`, `config.mnist`, ... hold the settings of each data set as `racl_tf.settings.paper_settings` names
them: `--config.mnist.train.epochs=5`.
"""

from ml_collections import ConfigDict

from racl_tf.settings import CPU, DATASETS, SMOKE, WSR, paper_settings, variant_settings

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
_DYNAMICS = {**_SMALL, "data.image_size": 16, "search.epochs": 25, "search.warmup_epochs": 5}


def get_config(scale: str = "paper") -> ConfigDict:
    names = {"smoke": ("digits",), "wsr": ("cifar10",)}.get(scale.split("-")[0], ("cifar10", "cifar100", "mnist"))
    scales = {"paper": {}, "wsr": WSR, "cpu": _SMALL, "dynamics": _DYNAMICS, "smoke": SMOKE}
    config = ConfigDict()
    searched = scale.startswith("dynamics")
    config.exhibits = ("dynamics",) if searched else ()  # table1, ..., figure3, dynamics; all of the paper if empty
    config.datasets = ("cifar10", "mnist") if searched else names  # of Table 4 and dynamics
    config.jobs = 1  # processes that make their parts at once
    config.launcher = "processes"  # or "slurm": jobs of a cluster
    config.launcher_options = ()  # of these jobs, NAME=VALUE as submitit names them, such as timeout_min=600
    config.shard = ""  # the share of the parts that is made, such as 2/8; all, and the pages, if empty
    config.networks = ()  # your own, as NAME=PATH: genotypes' .json files, trained .keras files or SavedModels
    for name in names:
        settings = paper_settings()
        settings.update_from_flattened_dict(DATASETS[name])
        config[name] = variant_settings(settings, scale, scales)
    return config
