"""CIFAR-10.

- `cifar10`: the paper's settings, for a machine with GPUs.
- `cifar10:cpu`: the same way on two CPU cores, on a part of the images with smaller networks.
- `cifar10:smoke`: every step once, in a few minutes.
- `cifar10:printed`, `cifar10:cpu-printed`, ...: with the constraint to the paper's letter.
"""

from ml_collections import ConfigDict

from racl_tf.settings import CPU, SMOKE, paper_settings, variant_settings


def get_config(variant: str = "paper") -> ConfigDict:
    config = paper_settings()
    return variant_settings(config, variant, {"paper": {}, "cpu": CPU, "smoke": SMOKE})
