"""scikit-learn's 1797 real 8x8 digits, which need no download.

- `digits`: search, adversarial training, evaluation and export in a few minutes on two CPU cores.
- `digits:smoke`: the same way in about a minute, too short to learn much.
- `digits:printed`, `digits:smoke-printed`, ...: with the constraint to the paper's letter.
"""

from ml_collections import ConfigDict

from racl_tf.settings import CPU, DATASETS, SMOKE, paper_settings, variant_settings


def get_config(variant: str = "cpu") -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict(
        {
            **CPU,
            **DATASETS["digits"],
            "search.channels": 8,
            "search.cells": 4,
            "search.epochs": 20,
            "search.warmup_epochs": 4,
            "train.channels": 8,
            "train.cells": 4,
            "train.epochs": 15,
            "train.held_out": 200,
        }
    )
    smoke = {**SMOKE, "data.train_size": None, "data.test_size": 128, "search.batch_size": 64, "train.batch_size": 64}
    return variant_settings(config, variant, {"cpu": {}, "smoke": smoke})
