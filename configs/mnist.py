"""MNIST, at the paper's eps of 76.5/255 and step of 20/255.

- `mnist`: the paper's settings, for a machine with GPUs.
- `mnist:cpu`: the same way on two CPU cores, on a part of the images with smaller networks.
- `mnist:smoke`: every step once, in a few minutes.
- `mnist:printed`, `mnist:cpu-printed`, ...: with the constraint to the paper's letter.
"""

from ml_collections import ConfigDict

from racl_tf.settings import CPU, DATASETS, SMOKE, paper_settings, variant_settings


def get_config(variant: str = "paper") -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict(DATASETS["mnist"])
    return variant_settings(config, variant, {"paper": {}, "cpu": CPU, "smoke": SMOKE})
