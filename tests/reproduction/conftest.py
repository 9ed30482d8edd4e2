"""The reproduction at the smallest sizes, that its tests share."""

import pathlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.networks import densenet
from racl_tf.networks.supernet import Supernet
from racl_tf.reproduction import paper_tables
from racl_tf.runs import search
from racl_tf.settings import DATASETS, SMOKE, paper_settings
from racl_tf.space import EDGES, OPERATIONS, Genotype

#: Smaller than `SMOKE`: tracing graphs is what costs time. Cells are drawn at random but where a row names its mode.
TINY = {
    **DATASETS["digits"],
    **SMOKE,
    "data.train_size": 160,
    "data.test_size": 32,
    "search.mode": "random",
    "search.epochs": 1,
    "search.warmup_epochs": 0,
    "train.held_out": 32,
    "train.cells": 1,
    "train.attack_steps": 1,
    "train.validation_steps": 1,
    "sweep.attacks": ("fgsm",),
    "sweep.epsilons": (0.05, 0.1),
    "sweep.steps": (1, 2),
    "study.seeds": 2,
    "study.attacks": ("fgsm",),
}
CELL = "normal: sep_conv_3x3<-0 skip_connect<-1 -> concat 2 reduce: avg_pool_3x3<-0 dil_conv_3x3<-1 -> concat 2"


@pytest.fixture(scope="module")
def few_and_shallow() -> Iterator[None]:
    """Leaves rows of networks of one kind out and gains unmeasured, makes DenseNets shallow: tracing takes long."""

    def alike(supernet: Supernet, *_: object) -> np.ndarray:
        return np.ones((len(supernet.cells), len(EDGES), len(OPERATIONS)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "operation_gains", alike)
        patch.setattr(densenet, "BLOCKS", (1, 1, 1, 1))
        for name in ("AmoebaNet", "DARTS", "PC-DARTS"):  # NASNet and RACL stay
            patch.delitem(paper_tables._CELLS, name)
            patch.delitem(paper_tables._ARCHITECTURES, name)
        yield


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder that all share, with a user's genotype and trained model beside it."""
    folder = tmp_path_factory.mktemp("reproduction")
    Genotype.from_text(CELL).save(folder / "mine.json")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.save(folder / "model.keras")
    return folder


@pytest.fixture
def tiny() -> ConfigDict:
    """The settings of one data set."""
    config = paper_settings()
    config.update_from_flattened_dict(TINY)
    return config


@pytest.fixture
def reproduction(workdir: pathlib.Path, tiny: ConfigDict) -> Callable[..., ConfigDict]:
    """Returns the settings of a reproduction of some exhibits."""

    def get(*exhibits: str) -> ConfigDict:
        networks = (f"mine={workdir}/mine.json", f"model={workdir}/model.keras")
        asked = {
            "exhibits": exhibits,
            "datasets": ("digits",),
            "networks": networks,
            "jobs": 1,
            "shard": "",
            "launcher": "processes",
        }
        return ConfigDict(asked | {"digits": tiny})

    return get


@pytest.fixture
def written(workdir: pathlib.Path) -> Callable[[], dict[pathlib.Path, int]]:
    """Returns when each file was written, but for pages and pictures, which are written anew."""
    return lambda: {path: path.stat().st_mtime_ns for path in (workdir / "run/parts").rglob("*") if path.is_file()}
