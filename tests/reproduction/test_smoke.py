"""A row of each kind of every table and figure, and the study, as the programs make them, at the smallest sizes."""

import json
import pathlib
from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.data import load_dataset
from racl_tf.files import read_table
from racl_tf.networks import densenet
from racl_tf.networks.supernet import Supernet
from racl_tf.reproduction import pages, paper_tables
from racl_tf.reproduction.dynamics import dynamics
from racl_tf.reproduction.paper_tables import EXHIBITS, PAPER, PARAMETERS, Table
from racl_tf.reproduction.runs import run_reproduction, run_study
from racl_tf.reproduction.system import System
from racl_tf.runs import search
from racl_tf.settings import DATASETS, SMOKE, paper_settings
from racl_tf.space import EDGES, OPERATIONS, Genotype

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module", autouse=True)
def _few_and_shallow() -> Iterator[None]:
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


def tiny() -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict(TINY)
    return config


def reproduction(workdir: pathlib.Path, *exhibits: str) -> ConfigDict:
    networks = (f"mine={workdir}/mine.json", f"model={workdir}/model.keras")
    return ConfigDict(
        {"exhibits": exhibits, "datasets": ("digits",), "networks": networks, "jobs": 1, "shard": "", "digits": tiny()}
    )


def written(workdir: pathlib.Path) -> dict[pathlib.Path, int]:
    """Returns when each file was written, but for pages and pictures, which are written anew."""
    return {path: path.stat().st_mtime_ns for path in (workdir / "run/parts").rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", PAPER)
def test_every_exhibit(name: str, workdir: pathlib.Path) -> None:
    (page,) = run_reproduction(reproduction(workdir, name), str(workdir / "run"))
    extra = (System("mine", f"{workdir}/mine.json"), System("model", f"{workdir}/model.keras"))
    exhibit = EXHIBITS[name](("digits",), extra)
    text = page.read_text()
    assert text.startswith(f"## {exhibit.title}\n")
    assert "nan" not in text
    if isinstance(exhibit, Table):
        cells = json.loads(page.with_suffix(".json").read_text())["cells"]
        measured = {(cell["row"], cell["column"]): cell["measured"]["value"] for cell in cells if cell["measured"]}
        assert measured.keys() == exhibit.cells.keys()
        for place, value in measured.items():
            assert (
                value > 0
                if exhibit.cells[place].measure == PARAMETERS
                else value * 0.32 == pytest.approx(round(value * 0.32))
            )
        assert page.with_suffix(".png").exists()
    else:
        assert all(f"{system} |" in text or f"### {system}" in text for system in exhibit.systems)
        assert len(list(page.parent.glob(f"{name}_*.png"))) == 2


def test_the_model_is_attacked_as_it_is(workdir: pathlib.Path) -> None:
    cells = json.loads((workdir / "run/table1.json").read_text())["cells"]
    mine = {cell["column"]: cell["measured"]["value"] for cell in cells if cell["row"] == "model"}
    test = load_dataset("digits", test_size=32).test
    right = keras.saving.load_model(workdir / "model.keras")(test.images()).numpy().argmax(1) == test.y
    assert mine["AT: Clean"] == pytest.approx(100 * np.mean(right))
    assert mine["Params (M)"] == 650e-6
    assert set(mine) == {"Params (M)", "AT: Clean", "AT: FGSM", "AT: MIM", "AT: PGD-20"}


def test_a_second_run_changes_nothing(workdir: pathlib.Path) -> None:
    before, texts = written(workdir), {path: path.read_text() for path in (workdir / "run").glob("*.json")}
    assert len(texts) == len(PAPER) - 1
    run_reproduction(reproduction(workdir, "table2", "table3", "table5", "figure2"), str(workdir / "run"))
    assert written(workdir) == before
    assert {path: path.read_text() for path in texts} == texts


def test_dynamics(workdir: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the searches, of which one is constrained."""
    titles = ("unconstrained", "proximal scale-free, operator norms")
    whole = dynamics(("digits",), ())
    some = replace(whole, systems={("digits", title): whole.systems["digits", title] for title in titles})
    monkeypatch.setattr(pages, "EXHIBITS", {"dynamics": lambda *_: some})
    config = reproduction(workdir, "dynamics")
    config.digits.search.epochs, config.digits.search.warmup_epochs = 2, 1
    (page,) = run_reproduction(config, str(workdir / "run"))
    text = page.read_text()
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:] == [
        f"| {title}" for title in titles
    ]
    assert "nan" not in text
    assert (workdir / "run/dynamics_digits.png").exists()


def test_the_study(workdir: pathlib.Path) -> None:
    """It shares what Table 5 has searched and trained, from the first of its seeds."""
    config = tiny()
    config.study.variants = ("RACL scale-free, operator norms", "without confidence learning", "random cells")
    study = run_study(config, str(workdir / "run"))
    assert [len(runs) for runs in study.outcomes.values()] == [2, 2, 2]
    racl, point, random = (runs[0] for runs in study.outcomes.values())
    for outcome in (racl, point, random):
        assert {*outcome.correct} == {"clean", "fgsm"}
        figures = outcome.figures
        assert figures["ln surrogate, matrix"] < figures["ln surrogate, operator"]
        assert figures["ln largest slope found"] < figures["ln upper bound"]
        assert ("constraint" in figures) == ("mu_F" in figures) == ("mu_alpha_common" in outcome.search)
    assert (random.search, len({outcome.genotype for outcome in (racl, point, random)})) == ({}, 3)
    assert study.correlations()["ln surrogate, matrix"].count == 6
    assert study.correlations()["constraint"].count == 4
    searches = [path for path in workdir.rglob("search/history.csv") if len(read_table(path)) == 1]  # the study's
    assert len(searches) == 4, "of two modes from two seeds, one of them Table 5's"
    before = written(workdir)
    assert run_study(config, str(workdir / "run")).markdown() == study.markdown()
    assert written(workdir) == before
