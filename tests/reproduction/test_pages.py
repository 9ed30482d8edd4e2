"""Pages hold what a store measured, each figure in its place beside the paper's, and no other."""

import json
import pathlib
import zlib
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.attacks import fgsm, pgd
from racl_tf.errors import UsageError
from racl_tf.evaluation import Evaluation, Sweep, Transfer
from racl_tf.evaluation.results import AttackOutcomes
from racl_tf.files import write_json, write_table
from racl_tf.reporting.paper_table import PaperTable
from racl_tf.reproduction import pages
from racl_tf.reproduction.experiment_store import ExperimentStore
from racl_tf.reproduction.pages import differences, make, notes_of, reproduce, sizes
from racl_tf.reproduction.paper_tables import CLEAN, EXHIBITS, PARAMETERS
from racl_tf.reproduction.system import System
from racl_tf.settings import DATASETS, SMOKE, WSR, paper_settings
from racl_tf.space import GENOTYPES, Genotype

IMAGES = 100
CLEAN_COUNT = 95


def count(*names: str) -> int:
    """Returns how many images stand, a number below `CLEAN_COUNT` that depends on all names and their order."""
    return zlib.crc32("/".join(names).encode()) % CLEAN_COUNT


def known(system: System) -> str:
    return f"{system.title} {system.changes.get('train.defence', 'pgd')}"


def outcome(count: int) -> AttackOutcomes:
    return AttackOutcomes(np.ones(IMAGES, np.int32), np.where(np.arange(IMAGES) < count, -1, 1).astype(np.int32))


def digits() -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict({**DATASETS["digits"], **SMOKE})
    return config


def sizes_alone() -> Any:
    """Returns what a page asks of a data set: how many images there are."""
    return SimpleNamespace(train=range(512), test=range(IMAGES))


class FakeLab(ExperimentStore):
    """Gives known figures in no time, and stops after some systems, as one who presses Ctrl-C."""

    def __init__(self, patience: int = 1000) -> None:
        super().__init__(digits(), "no folder")
        self.data = sizes_alone()
        self.patience = patience
        self.calls: list[str] = []

    def check(self, systems: Iterable[System], attacks: Iterable[str] = ()) -> None:
        self.calls += [f"check {system.title}" for system in systems]

    def _begin(self, call: str) -> None:
        if not self.patience:
            raise KeyboardInterrupt
        self.patience -= 1
        self.calls.append(call)

    def evaluate(self, system: System, attacks: Iterable[str]) -> dict[str, Evaluation]:
        self._begin(f"attack {known(system)}")
        predictions = np.where(np.arange(IMAGES) < CLEAN_COUNT, 0, 1).astype(np.int32)
        return {
            name: Evaluation(
                np.zeros(IMAGES, np.int32),
                predictions,
                10,
                {name: outcome(count(known(system), name))},
                {name: (fgsm(0.1),)},
                0,
            )
            for name in attacks
        }

    def parameters(self, system: System) -> int | None:
        return None if system.trained else 1000 * count(system.title)

    def transfer(self, source: System, targets: Mapping[str, System], attack: str) -> Transfer:
        self._begin(f"transfer {known(source)} {attack}")
        num_robust = {name: count(known(source), known(target), attack) for name, target in targets.items()}
        return Transfer({"clean": num_robust, "source": num_robust}, IMAGES, fgsm(0.1), 0)

    def sweep(self, system: System) -> dict[str, Sweep]:
        self._begin(f"sweep {system.title}")
        first = count(system.title)
        sweeps = {"pgd20": Sweep("eps", (0.1, 0.2), (first, first // 2), CLEAN_COUNT, IMAGES, (pgd(0.2, 0.1, 1),), 0)}
        num_robust = (first, first // 3)
        return sweeps | {"steps": Sweep("steps", (20, 100), num_robust, CLEAN_COUNT, IMAGES, (pgd(0.1, 0.1, 100),), 0)}

    def genotype(self, system: System) -> Genotype:
        return GENOTYPES["racl" if not system.network else "darts"]

    def network_folder(self, system: System) -> pathlib.Path:
        return pathlib.Path("networks") / known(system)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[PaperTable]:
    """Puts a list in the place of the pictures of tables, which take longer than all the rest."""
    drawn: list[PaperTable] = []
    monkeypatch.setattr(pages, "plot_paper_table", lambda page, path: drawn.append(page))
    return drawn


MINE = (System("mine", "mine.json"), System("model", "model.keras"))


def made(name: str, store: FakeLab, folder: pathlib.Path, *extra: System) -> tuple[Any, str, dict]:
    exhibit = EXHIBITS[name](("digits",), extra)
    page = make(exhibit, {"digits": store}, folder / name)
    return exhibit, page.read_text(), json.loads(page.with_suffix(".json").read_text())


@pytest.mark.parametrize("name", [name for name in EXHIBITS if name.startswith("table")])
def test_a_table_holds_exactly_the_measured_figures_beside_the_paper_s(
    name: str, tmp_path: pathlib.Path, drawn: list[PaperTable]
) -> None:
    table, text, record = made(name, FakeLab(), tmp_path, *MINE)
    measured = {(cell["row"], cell["column"]): cell["measured"] for cell in record["cells"] if cell["measured"]}
    assert measured.keys() == {
        place
        for place, cell in table.cells.items()
        if not (cell.measure == PARAMETERS and cell.system.trained)  # which a model does not say here
    }
    for place, figure in measured.items():
        cell = table.cells[place]
        if cell.measure == PARAMETERS:
            assert figure == {"value": count(cell.system.title) / 1000, "interval": None}
            continue
        if cell.source:
            expected = count(known(cell.source), known(cell.system), cell.measure)
        else:
            expected = CLEAN_COUNT if cell.measure == CLEAN else count(known(cell.system), cell.measure)
        assert figure["value"] == pytest.approx(expected), place
        low, high = figure["interval"]
        assert low <= expected <= high
    published = {(cell["row"], cell["column"]): cell["published"] for cell in record["cells"]}
    assert {place: figure for place, figure in published.items() if figure is not None} == dict(table.published)
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    assert {row for row, _ in (*table.cells, *table.published)} == {*rows} - {"", "---"}
    assert drawn[-1].markdown() == text


def test_a_line_of_the_page_as_it_stands_there(tmp_path: pathlib.Path) -> None:
    _, text, _ = made("table2", FakeLab(), tmp_path)
    counts = [count("VGG-19 none", "DARTS pgd", attack) for attack in ("fgsm", "mim", "pgd10")]
    (line,) = (line for line in text.splitlines() if line.startswith("| DARTS"))
    ours = [cell.split("<br>")[0].replace("*", "") for cell in line.strip("| ").split(" | ")[1:]]
    assert (tmp_path / "table2.png").read_bytes().startswith(b"\x89PNG")
    assert ours == [f"{count:.1f} / {paper}" for count, paper in zip(counts, ("81.5", "81.2", "82.6"), strict=True)]


def test_rows_of_table_3_are_sources(tmp_path: pathlib.Path, drawn: list[PaperTable]) -> None:
    _, _, record = made("table3", FakeLab(), tmp_path)
    figures = {(cell["row"], cell["column"]): cell["measured"]["value"] for cell in record["cells"]}
    assert figures["from DARTS", "RACL"] == pytest.approx(count("DARTS pgd", "RACL pgd", "pgd10"))
    assert figures["from RACL", "DARTS"] == pytest.approx(count("RACL pgd", "DARTS pgd", "pgd10"))
    assert figures["from DARTS", "RACL"] != figures["from RACL", "DARTS"]


def test_each_network_is_attacked_once_and_each_source_once_an_attack(
    tmp_path: pathlib.Path, drawn: list[PaperTable]
) -> None:
    for name in ("table1", "table2", "table3", "table4", "table5"):
        store = FakeLab()
        made(name, store, tmp_path, *MINE)
        assert len(store.calls) == len({*store.calls})
    assert len(store.calls) == 7


def test_an_interrupted_table_shows_the_systems_that_are_finished(
    tmp_path: pathlib.Path, drawn: list[PaperTable]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        made("table1", FakeLab(patience=3), tmp_path)
    cells = json.loads((tmp_path / "table1.json").read_text())["cells"]
    finished = {(cell["row"], cell["column"]) for cell in cells if cell["measured"]}
    adversarially = ("Params (M)", "AT: Clean", "AT: FGSM", "AT: MIM", "AT: PGD-20")
    plainly = ("Clean", "FGSM", "MIM", "PGD-10")
    assert finished == {("ResNet-18", column) for column in adversarially + plainly} | {
        ("DenseNet-121", column) for column in adversarially
    }
    assert drawn == [], "the picture comes last"
    text = (tmp_path / "table1.md").read_text()
    assert "| RACL | - / 3.6 | - / 83.89 |" in text


def test_an_interrupted_figure_shows_the_systems_that_are_finished(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made("figure3", FakeLab(patience=2), tmp_path)
    assert list(json.loads((tmp_path / "figure3.json").read_text())["steps"]) == ["AmoebaNet", "NASNet"]


def test_a_figure_of_curves_holds_every_point_and_the_paper_s_beside(tmp_path: pathlib.Path) -> None:
    exhibit, text, record = made("figure3", FakeLab(), tmp_path, *MINE)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == "| pgd20 over eps | 0.1 | 0.2 |"
    for system in exhibit.systems:
        first = count(system)
        assert [row["accuracy"] for row in record["pgd20"][system]["rows"]] == [first / 100, first // 2 / 100]
        over_eps, over_steps = (line for line in rows if line.startswith(f"| {system} |"))
        assert f"| {first:.1f}<br>[" in over_eps
        assert f" {first // 2:.1f}<br>[" in over_eps
        assert " / " not in over_eps
        published = {"DARTS": ("44.91", "44.26"), "RACL": ("49.43", "49.04")}.get(system)
        for number, figure in enumerate((first, first // 3)):
            beside = f" / {published[number]}" if published else ""
            assert f"| {figure:.1f}{beside}<br>[" in over_steps
    for picture in ("pgd20", "steps"):
        assert (tmp_path / f"figure3_{picture}.png").exists()
        assert f"](figure3_{picture}.png)" in text


def test_a_figure_of_cells_shows_the_searched_one_and_users_genotypes(tmp_path: pathlib.Path) -> None:
    page = make(EXHIBITS["figure2"](("digits",), MINE), {"digits": FakeLab()}, tmp_path / "figure2")
    text = page.read_text()
    for index, genotype in enumerate(("racl", "darts")):
        assert str(GENOTYPES[genotype]) in text
        assert f"](figure2_{index}.png)" in text
        assert (tmp_path / f"figure2_{index}.png").exists()
    assert "### RACL, searched here" in text
    assert "### mine" in text
    assert "model" not in text


def test_notes_say_data_sizes_time_and_versions(tmp_path: pathlib.Path) -> None:
    exhibit = EXHIBITS["table4"](("digits", "other"), ())
    first, second, differs, _, fallen, moved = notes_of(exhibit, {"digits": FakeLab(), "other": FakeLab()})
    assert first == second
    assert differs.startswith(
        "Settings of digits that differ from the paper's: data.test_size=64, data.train_size=512, "
    )
    assert differs.endswith("train.held_out=64.")
    assert "attack.eps" not in differs, "that of its data set"
    assert "fallen at the first misclassified iterate" in fallen
    assert "searched here for all data sets, as in the paper: on digits." in moved
    assert "512 training and 100 test images" in first
    assert "linf with eps 0.1 and steps of 0.025" in first
    assert "took 0 min so far" in first
    assert "as an inequality with eta 0.9, rho 0.001 and a target below the start by 20% of what choice" in first
    paper = FakeLab()
    paper.config.train.update({"cells": None, "channels": None})
    paper.config.search.target = -2.5
    assert "a target of -2.5 nats" in sizes(paper)
    paper.config.search.update({"target": None, "reduction": 6.0})
    assert "a target 6 nats below the start" in sizes(paper)
    paper.config.search.update({"reduction": None, "node_reduction": 0.5})
    assert "a target 0.5 nats a node below the start" in sizes(paper)
    assert "networks of their own size" in sizes(paper)
    assert "networks of 3 cells and 4 channels" in first


def test_pages_of_the_recipe_of_wsr_nas_have_its_figures() -> None:
    exhibit, store = EXHIBITS["table2"](("digits",), ()), FakeLab()
    store.config.update_from_flattened_dict(dict(WSR))
    notes = notes_of(exhibit, {"digits": store})
    assert [note for note in notes if "80.7 natural, 47.9 under PGD of eps 0.03 and 57.7 under FGSM" in note]
    assert "train.milestones=(100, 150)" in notes[1]
    assert not [note for note in notes if "fallen" in note], "it is of images crafted on another network"
    store.config.train.epochs = 100
    assert not [note for note in notes_of(exhibit, {"digits": store}) if "80.7" in note]


def test_a_page_names_the_versions_that_its_parts_were_made_by(tmp_path: pathlib.Path) -> None:
    """Whatever makes the page; and a page of curves says how they are to be read."""
    store, system = ExperimentStore(digits(), tmp_path), System("RACL", "racl")
    store.data = sizes_alone()
    made = {"racl_tf": "0.1.0", "tensorflow": "2.20.0", "keras": "3.14.0", "python": "3.13.0"}
    write_json(store.network_folder(system) / "train" / "versions.json", made)
    exhibit = EXHIBITS["figure3"](("digits",), ())
    old = "racl_tf 0.1.0, TensorFlow 2.20.0, Keras 3.14.0"
    *_, curves, versions = notes_of(exhibit, {"digits": store})
    assert versions == f"Made by {old}."
    assert "counts as fallen at all larger ones" in curves
    record = {"seconds": 1, "versions": made | {"tensorflow": "2.21.0"}}
    write_json(store.sweep_folders(system)["steps"] / "results.json", record)
    assert notes_of(exhibit, {"digits": store})[-1] == f"Made by {old}; {old.replace('2.20', '2.21')}."


def test_a_page_counts_the_time_of_what_it_shows_alone(tmp_path: pathlib.Path) -> None:
    """Every search, training and attack of every exhibit takes a minute, others on the same networks a year."""
    config = digits()
    config.sweep.attacks = ("fgsm", "pgd20")
    store = ExperimentStore(config, tmp_path)
    store.data = sizes_alone()
    exhibits = {name: make_exhibit(("digits",), ()) for name, make_exhibit in EXHIBITS.items()}
    for exhibit in exhibits.values():
        for folder in pages._folders(exhibit, "digits", store):
            file = "history.csv" if folder.name in ("search", "train") else "results.json"
            if file == "history.csv":
                write_table(folder / file, [{"epoch": "1", "seconds": "60"}])
            else:
                write_json(folder / file, {"seconds": 60})
                write_json(folder.parent / "another" / file, {"seconds": 3e7})
    minutes = {
        "table1": 1 + 20 + 20 * 3,  # one search; ten networks with and without AT, three attacks
        "table2": 1 + 7 + 3,  # five cells, the searched one and VGG-19; an attack crafts images for all at once
        "table3": 1 + 6 + 6,
        "table4": 1 + 8 + 8 * 2,
        "table5": 5 + 5 + 5 * 3,
        "figure2": 1,
        "figure3": 1 + 6 + 6 * 3,
        "dynamics": 8,
    }
    for name, exhibit in exhibits.items():
        assert f"took {minutes[name]} min so far" in notes_of(exhibit, {"digits": store})[0], name


def test_everything_is_checked_before_anything_is_computed(tmp_path: pathlib.Path, drawn: list[PaperTable]) -> None:
    store = FakeLab()
    paths = reproduce(["table2", "figure3", "table2"], {"digits": store}, tmp_path, extra=MINE)
    assert paths == [tmp_path / "table2.md", tmp_path / "figure3.md"]
    checked = [call.startswith("check") for call in store.calls]
    assert checked == sorted(checked, reverse=True)
    assert sum(checked) == len({call for call in store.calls if call.startswith("check")}) == 9, "each once"


@pytest.mark.parametrize(
    ("names", "extra", "message"),
    [
        (["table2", "tabel1"], (), "Unknown exhibit 'tabel1'. Did you mean 'table1'"),
        (
            ["table1"],
            (System("RACL", "mine.json"),),
            r"'RACL' is a row already\. Call your network 'mine.json' otherwise",
        ),
    ],
)
def test_mistakes(names: list[str], extra: tuple[System, ...], message: str, tmp_path: pathlib.Path) -> None:
    store = FakeLab()
    with pytest.raises(UsageError, match=message):
        reproduce(names, {"digits": store}, tmp_path / "run", extra=extra)
    assert store.calls == []
    assert not (tmp_path / "run").exists()


def test_a_name_that_only_the_paper_has_is_free(tmp_path: pathlib.Path, drawn: list[PaperTable]) -> None:
    """Who has RobNet-medium's codes gets its figures beside the paper's."""
    reproduce(["table1"], {"digits": FakeLab()}, tmp_path, extra=[System("RobNet-medium", "medium.json")])
    cells = json.loads((tmp_path / "table1.json").read_text())["cells"]
    (cell,) = (cell for cell in cells if (cell["row"], cell["column"]) == ("RobNet-medium", "AT: PGD-20"))
    assert cell["published"] == 49.13
    assert cell["measured"]["value"] == pytest.approx(count("RobNet-medium pgd", "pgd20"))


def test_notes_show_a_data_set_letter_by_letter() -> None:
    config = paper_settings()
    config.data.name, config.train.epochs = "runs/<b>*x*</b>", 3
    store: Any = SimpleNamespace(config=config, data=sizes_alone())
    for text in (sizes(store), differences(config)):
        assert "runs/&#60;b>&#42;x&#42;&#60;/b>" in text
        assert "<b>" not in text
