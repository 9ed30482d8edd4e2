"""A row of each kind of every table and figure, as the program makes them, at the smallest sizes."""

import json
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.data import load_dataset
from racl_tf.reproduction.paper_tables import EXHIBITS, PAPER, PARAMETERS, Table
from racl_tf.reproduction.runs import run_reproduction
from racl_tf.reproduction.system import System

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_and_shallow")]

Reproduction = Callable[..., ConfigDict]
Written = Callable[[], dict[pathlib.Path, int]]


@pytest.mark.parametrize("name", PAPER)
def test_every_exhibit(name: str, workdir: pathlib.Path, reproduction: Reproduction) -> None:
    (page,) = run_reproduction(reproduction(name), str(workdir / "run"))
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


def test_a_second_run_changes_nothing(workdir: pathlib.Path, reproduction: Reproduction, written: Written) -> None:
    before, texts = written(), {path: path.read_text() for path in (workdir / "run").glob("*.json")}
    assert len(texts) == len(PAPER) - 1
    run_reproduction(reproduction("table2", "table3", "table5", "figure2"), str(workdir / "run"))
    assert written() == before
    assert {path: path.read_text() for path in texts} == texts
