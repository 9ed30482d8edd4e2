"""What the tests of runs share: settings as flags change them, and models in files."""

import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Callable

import keras
import pytest
from ml_collections import ConfigDict

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.runs.flags import ATTACKS, EVALUATE, IMAGES, MODEL, SWEEP, THREAT, TRANSFER
from racl_tf.settings import paper_settings


@pytest.fixture(scope="session")
def flag_settings() -> Callable[..., ConfigDict]:
    """Returns the paper's settings as changed by flags."""

    def get(**flags: str) -> ConfigDict:
        config = paper_settings()
        for name, text in flags.items():
            table = next(
                table for table in (MODEL, THREAT, IMAGES, ATTACKS, EVALUATE, SWEEP, TRANSFER) if name in table
            )
            table[name].apply(config, text)
        return config

    return get


ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Calls a program in this process, up to where its work begins, and returns what it ended with."""

    def start(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = ROOT / "bin" / f"{program}.py"
        spec = importlib.util.spec_from_file_location(program, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        with pytest.raises(SystemExit) as ended:
            module.run()
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), shown.out, shown.err)

    return start


@pytest.fixture
def config(configuration: Callable[..., ConfigDict]) -> ConfigDict:
    """The smallest configuration, of the digits."""
    config = configuration("digits", "smoke")
    config.data.train_size = 256
    return config


@pytest.fixture
def refuses(flag_settings: Callable[..., ConfigDict], models: dict[str, str], tmp_path: pathlib.Path) -> Callable:
    """Checks that a step refuses settings, as changed by flags, before it writes anything; ONE is a model's path."""

    def check(step: Callable[[ConfigDict, str], object], message: str, **flags: str) -> None:
        flags = {name: text.replace("ONE", models["one"]) for name, text in flags.items()}
        with pytest.raises(UsageError, match=message):
            step(flag_settings(**{"dataset": "digits", "images": "20"} | flags), str(tmp_path / "run"))
        assert not (tmp_path / "run").exists()

    return check


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
