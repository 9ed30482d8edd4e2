"""CIFAR-100, with the variants of CIFAR-10.

- `cifar100`: the paper's settings (the architecture searched on CIFAR-100 itself), for a machine with GPUs.
- `cifar100:cpu`: the same way on two CPU cores, on a part of the images with smaller networks.
- `cifar100:smoke`: every step once, in a few minutes.
- `cifar100:printed`, `cifar100:cpu-printed`, ...: with the constraint to the paper's letter.
"""

from ml_collections import ConfigDict

from racl_tf.settings import CPU, DATASETS, SMOKE, paper_settings, variant_settings


def get_config(variant: str = "paper") -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict(DATASETS["cifar100"])
    smoke = {**SMOKE, "data.train_size": 1000, "data.test_size": 100, "train.held_out": 100}
    return variant_settings(config, variant, {"paper": {}, "cpu": CPU, "smoke": smoke})
