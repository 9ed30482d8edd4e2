"""What the tests of runs share: settings as flags change them, and models in files."""

from collections.abc import Callable

import keras
import pytest
from ml_collections import ConfigDict

from racl_tf.data import load_dataset
from racl_tf.runs.flags import ATTACKS, MODEL, SWEEP, THREAT, TRANSFER
from racl_tf.settings import paper_settings


@pytest.fixture(scope="session")
def flag_settings() -> Callable[..., ConfigDict]:
    """Returns the paper's settings as changed by flags."""

    def get(**flags: str) -> ConfigDict:
        config = paper_settings()
        for name, text in flags.items():
            table = next(table for table in (MODEL, THREAT, ATTACKS, SWEEP, TRANSFER) if name in table)
            table[name].apply(config, text)
        return config

    return get


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two linear classifiers of the digits, trained for a moment, by name."""
    folder, train = tmp_path_factory.mktemp("models"), load_dataset("digits").train
    paths = {}
    for seed, name in enumerate(("one", "other")):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(train.images(), train.y, batch_size=64, epochs=5, verbose=0)
        paths[name] = str(folder / f"{name}.keras")
        model.save(paths[name])
    return paths
