"""The exhibits ask for what the paper shows, of networks and attacks that there are."""

import pytest

from racl_tf.attacks.registry import make_attack
from racl_tf.defences import DEFENCES
from racl_tf.networks.registry import NETWORKS
from racl_tf.reproduction import paper
from racl_tf.reproduction.paper_tables import CLEAN, EXHIBITS, PAPER, PARAMETERS, SEARCHED, VGG19, Table, systems_of
from racl_tf.reproduction.system import System
from racl_tf.search.modes import SEARCH_MODES
from racl_tf.settings import paper_settings

DATASETS = ("cifar10", "cifar100", "mnist")
WITHOUT_CODES = {"RobNet-medium"}  # of which no code is known
MINE = (System("mine", "mine.json"), System("model", "model.keras"))
TABLES = [name for name in EXHIBITS if name.startswith("table")]


def table(name: str, *extra: System) -> Table:
    exhibit = EXHIBITS[name](DATASETS, extra)
    assert isinstance(exhibit, Table)
    return exhibit


@pytest.mark.parametrize("name", EXHIBITS)
def test_networks_defences_attacks_and_settings_are_known(name: str) -> None:
    exhibit = EXHIBITS[name](DATASETS, ())
    for dataset, system in systems_of(exhibit):
        config = paper_settings()
        config.update_from_flattened_dict(dict(system.changes))
        assert dataset in DATASETS
        assert system.network in ("", *NETWORKS)
        assert config.train.defence in DEFENCES
        assert config.search.mode in SEARCH_MODES
    if isinstance(exhibit, Table):
        for cell in exhibit.cells.values():
            assert cell.measure in (CLEAN, PARAMETERS) or make_attack(cell.measure, 0.1, 0.1)


@pytest.mark.parametrize("name", TABLES)
def test_every_figure_of_the_paper_is_measured_where_there_is_the_network(name: str) -> None:
    exhibit = table(name)
    lacking = {place for place in exhibit.published if place not in exhibit.cells}
    assert {row for row, _ in lacking} == (WITHOUT_CODES if name == "table1" else set())
    assert {column for _, column in exhibit.published} <= {column for _, column in exhibit.cells}


def test_the_paper_s_figures_are_those_of_its_tables() -> None:
    for name, figures in {"table1": paper.TABLE_1, "table2": paper.TABLE_2, "table5": paper.TABLE_5}.items():
        assert table(name).published == figures
    assert table("table3").published["from DARTS", "RACL"] == paper.TABLE_3["DARTS", "RACL"]
    assert sorted(table("table3").published.values()) == sorted(paper.TABLE_3.values())
    assert table("table4").published == {
        (row, f"{column}: PGD-10"): figure for (row, column), figure in paper.TABLE_4.items()
    }


def test_table_1_attacks_networks_trained_adversarially_and_plainly() -> None:
    columns = dict.fromkeys(column for _, column in table("table1").cells)
    assert tuple(columns) == tuple(dict.fromkeys(column for _, column in paper.TABLE_1))
    for (row, column), cell in table("table1").cells.items():
        plain = not column.startswith("AT") and cell.measure != PARAMETERS
        assert cell.system.changes.get("train.defence", "pgd") == ("none" if plain else "pgd")
        assert cell.system.title == row
        name = column.removeprefix("AT: ").lower().replace("-", "")
        assert cell.measure == {"params (m)": PARAMETERS}.get(name, name)
        assert cell.source is None


def test_transfers_are_from_the_row_to_the_column_and_in_table_2_from_vgg_19() -> None:
    for (row, column), cell in table("table3").cells.items():
        assert cell.source is not None
        assert (row, column) == (f"from {cell.source.title}", cell.system.title)
        assert cell.measure == "pgd10"
        assert not cell.source.changes
        assert not cell.system.changes
    for (row, column), cell in table("table2").cells.items():
        assert cell.source == VGG19
        assert cell.source.changes == {"train.defence": "none", "train.learning_rate": 0.01}
        assert (row, column.lower().replace("-", "")) == (cell.system.title, cell.measure)


def test_table_4_defends_one_network_on_every_data_set() -> None:
    cells = table("table4").cells
    for dataset in DATASETS:
        mine = {row: cell.system for (row, _), cell in cells.items() if cell.dataset == dataset}
        assert {row: (system.network, *system.changes.values()) for row, system in mine.items()} == {
            "none": ("resnet18", "none"),
            "PGD-AT": ("resnet18", "pgd"),
            "FGSM-RS": ("resnet18", "fgsm_rs"),
            "L2NNN": ("l2nnn", "l2nnn", 0.01, 0.0),
            "ADP": ("resnet18", "adp"),
            "TRADES": ("resnet18", "trades"),
            "RACL": ("racl",),
            SEARCHED.title: ("",),
        }
        assert mine[SEARCHED.title].searched_on_first == (dataset != "cifar10"), (
            "one cell for all, searched on CIFAR-10"
        )


def test_table_5_searches_with_the_settings_that_its_rows_name() -> None:
    for (row, _), cell in table("table5").cells.items():
        changes = cell.system.changes
        assert cell.system.network == ""
        if row == "without confidence learning":
            assert changes["search.mode"] == "no_confidence"
        else:
            assert row == f"eta {changes['search.eta']}, rho {changes['search.rho']:.4f}".rstrip("0")


@pytest.mark.parametrize("name", PAPER)
def test_a_user_s_systems_take_part_in_every_exhibit_that_fits_them(name: str) -> None:
    exhibit = EXHIBITS[name](DATASETS, MINE)
    parts = [(dataset, system) for dataset, system in systems_of(exhibit) if system.title in ("mine", "model")]
    systems = [system.title for _, system in parts]
    assert "mine" in systems
    assert ("model" in systems) == (name != "figure2"), "a trained model has no cell to draw"
    assert {dataset for dataset, system in parts if system.title == "model"} <= {"cifar10"}
    if name == "table1":
        assert isinstance(exhibit, Table)
        assert ("mine", "FGSM") in exhibit.cells
        assert ("model", "FGSM") not in exhibit.cells, "it is trained in one way"
        assert ("model", "AT: FGSM") in exhibit.cells
    if name == "table3":
        assert isinstance(exhibit, Table)
        assert {("from mine", "RACL"), ("from RACL", "model"), ("from model", "mine")} <= exhibit.cells.keys()
    if name == "table4":
        assert {dataset for dataset, system in parts if system.title == "mine"} == {*DATASETS}


@pytest.mark.parametrize("name", EXHIBITS)
def test_systems_are_yielded_once_each(name: str) -> None:
    parts = list(systems_of(EXHIBITS[name](DATASETS, MINE)))
    assert all(part not in parts[:index] for index, part in enumerate(parts))
    if name == "table2":
        assert parts[0] == ("cifar10", VGG19)


def test_exhibits_share_systems() -> None:
    parts = list(systems_of(*(exhibit(DATASETS, ()) for exhibit in EXHIBITS.values())))
    assert all(part not in parts[:index] for index, part in enumerate(parts))
    assert parts.count(("cifar10", SEARCHED)) == 1
    assert len(parts) < sum(len(list(systems_of(exhibit(DATASETS, ())))) for exhibit in EXHIBITS.values())
