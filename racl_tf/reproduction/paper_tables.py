"""What the paper shows, as what has to be measured for it: Tables 1 to 5, Figures 2 and 3; and how searches move.

A table is a mapping from its places to cells, and a cell says which system is attacked, how, and on which data set.
Nothing here computes; `racl_tf.reproduction.pages` does. A user's own systems take part in every exhibit that fits
them: a trained model has no row of plain training, no figure on data sets other than the first, and no cell to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from racl_tf.reproduction import paper
from racl_tf.reproduction.dynamics import Dynamics, dynamics
from racl_tf.reproduction.system import System

PARAMETERS, CLEAN = "parameters", "clean"


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Arguments:
        dataset: the name of the data set.
        system: that is attacked.
        measure: "parameters", "clean" or the name of an attack.
        source: the system that images are crafted on; None: the attacked one itself.
    """

    dataset: str
    system: System
    measure: str
    source: System | None = None


@dataclass(frozen=True)
class Table:
    """A table: its cells and the paper's figures, by (row, column) in order."""

    title: str
    cells: Mapping[tuple[str, str], Cell]
    published: paper.Figures


@dataclass(frozen=True)
class Curves:
    """A figure of robust accuracy over the steps of PGD and over eps, a curve for each system of a data set."""

    title: str
    dataset: str
    systems: Mapping[str, System]


@dataclass(frozen=True)
class Drawings:
    """A figure of the searched cells."""

    title: str
    dataset: str
    systems: Mapping[str, System]


Exhibit = Table | Curves | Drawings | Dynamics

SEARCHED = System("RACL, searched here")
# At its own paper's learning rate: at 0.1, the others', it has learned nothing after a few epochs.
VGG19 = System("VGG-19", "vgg19", {"train.defence": "none", "train.learning_rate": 0.01})
_CELLS = {"AmoebaNet": "amoebanet", "NASNet": "nasnet", "DARTS": "darts", "PC-DARTS": "pc_darts", "RACL": "racl"}
_ARCHITECTURES = {
    "ResNet-18": "resnet18",
    "DenseNet-121": "densenet121",
    **{name: network for name, network in _CELLS.items() if name != "RACL"},
    "RobNet-small": "robnet_small",
    "RobNet-large-v1": "robnet_large_v1",
    "RACL": "racl",
}
_DEFENCES: dict[str, dict[str, Any]] = {
    "none": {"train.defence": "none"},
    "PGD-AT": {"train.defence": "pgd"},
    "FGSM-RS": {"train.defence": "fgsm_rs"},
    # Its weights are scaled in every pass, where the others' learning rate is too large and decay has no meaning.
    "L2NNN": {"train.defence": "l2nnn", "train.learning_rate": 0.01, "train.weight_decay": 0.0},
    "ADP": {"train.defence": "adp"},
    "TRADES": {"train.defence": "trades"},
}
_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST"}


def table_1(datasets: Sequence[str], extra: Sequence[System]) -> Table:
    """White-box attacks, with and without adversarial training."""
    rows = [*_systems(_ARCHITECTURES), SEARCHED, *extra]
    cells = {}
    for system in rows:
        cells[system.title, "Params (M)"] = Cell(datasets[0], system, PARAMETERS)
        for column, measure in {"Clean": CLEAN, "FGSM": "fgsm", "MIM": "mim", "PGD-20": "pgd20"}.items():
            cells[system.title, f"AT: {column}"] = Cell(datasets[0], system, measure)
        if system.trained:
            continue
        plain = replace(system, changes={**system.changes, "train.defence": "none"})
        for column, measure in {"Clean": CLEAN, "FGSM": "fgsm", "MIM": "mim", "PGD-10": "pgd10"}.items():
            cells[system.title, column] = Cell(datasets[0], plain, measure)
    return Table("Table 1: white-box attacks, with (AT) and without adversarial training", cells, paper.TABLE_1)


def table_2(datasets: Sequence[str], extra: Sequence[System]) -> Table:
    """Black-box attacks: images crafted on a plainly trained VGG-19, shown to adversarially trained networks."""
    columns = {"FGSM": "fgsm", "MIM": "mim", "PGD-10": "pgd10"}
    cells = {
        (system.title, column): Cell(datasets[0], system, measure, VGG19)
        for system in (*_systems(_CELLS), SEARCHED, *extra)
        for column, measure in columns.items()
    }
    return Table("Table 2: black-box attacks from VGG-19", cells, paper.TABLE_2)


def table_3(datasets: Sequence[str], extra: Sequence[System]) -> Table:
    """Images crafted on each network (row) by PGD-10, shown to each (column), all trained adversarially."""
    systems = (*_systems(_CELLS), SEARCHED, *extra)
    cells = {
        (f"from {source.title}", target.title): Cell(datasets[0], target, "pgd10", source)
        for source in systems
        for target in systems
    }
    published = {(f"from {source}", target): figure for (source, target), figure in paper.TABLE_3.items()}
    return Table("Table 3: transfer of PGD-10 from networks (rows) to networks (columns)", cells, published)


def table_4(datasets: Sequence[str], extra: Sequence[System]) -> Table:
    """Defences under PGD on every data set: of ResNet-18, of L2NNN's own network, and PGD-AT of RACL's cell.

    The paper's figures are under PGD-10 (those of RACL are Table 5's); PGD-100 shows which stand a stronger attack.
    As in the paper, the cell that is searched here is searched on the first data set alone, CIFAR-10.
    """
    cells: dict[tuple[str, str], Cell] = {}
    published: dict[tuple[str, str], float] = {}
    for dataset in datasets:
        group = _TITLES.get(dataset, dataset)
        systems = [
            System(title, "l2nnn" if title == "L2NNN" else "resnet18", changes) for title, changes in _DEFENCES.items()
        ]
        fitting = [system for system in extra if dataset == datasets[0] or not system.trained]
        searched = replace(SEARCHED, searched_on_first=dataset != datasets[0])
        for system in (*systems, System("RACL", "racl"), searched, *fitting):
            for column, measure in {"Clean": CLEAN, "PGD-10": "pgd10", "PGD-100": "pgd100"}.items():
                cells[system.title, f"{group}: {column}"] = Cell(dataset, system, measure)
        published |= {
            (row, f"{group}: PGD-10"): figure for (row, column), figure in paper.TABLE_4.items() if column == group
        }
    return Table("Table 4: defences under PGD", cells, published)


def table_5(datasets: Sequence[str], extra: Sequence[System]) -> Table:
    """RACL's cell searched with other eta and rho, and without confidence learning, then trained adversarially."""
    settings: dict[str, dict[str, object]] = {
        "without confidence learning": {"search.mode": "no_confidence", "search.rho": 1e-3},
        "eta 0.9, rho 0.01": {"search.eta": 0.9, "search.rho": 1e-2},
        "eta 0.9, rho 0.0001": {"search.eta": 0.9, "search.rho": 1e-4},
        "eta 0.7, rho 0.001": {"search.eta": 0.7, "search.rho": 1e-3},
        "eta 0.9, rho 0.001": {"search.eta": 0.9, "search.rho": 1e-3},
    }
    cells = {
        (system.title, column): Cell(datasets[0], system, measure)
        for system in (*(System(title, "", changes) for title, changes in settings.items()), *extra)
        for column, measure in {"Clean": CLEAN, "FGSM": "fgsm", "MIM": "mim", "PGD-10": "pgd10"}.items()
    }
    return Table("Table 5: RACL by eta, by rho, and without confidence learning", cells, paper.TABLE_5)


def figure_2(datasets: Sequence[str], extra: Sequence[System]) -> Drawings:
    """The searched cells, and those of users' genotypes."""
    searched = [SEARCHED, *(system for system in extra if system.is_genotype_file)]
    return Drawings("Figure 2: the searched cells", datasets[0], {system.title: system for system in searched})


def figure_3(datasets: Sequence[str], extra: Sequence[System]) -> Curves:
    """Robust accuracy over the steps of PGD, and over eps under PGD-20 and FGSM, after adversarial training."""
    systems = (*_systems(_CELLS), SEARCHED, *extra)
    title = "Figure 3: robust accuracy over steps and over eps"
    return Curves(title, datasets[0], {system.title: system for system in systems})


EXHIBITS: Mapping[str, Callable[[Sequence[str], Sequence[System]], Exhibit]] = MappingProxyType(
    {
        "table1": table_1,
        "table2": table_2,
        "table3": table_3,
        "table4": table_4,
        "table5": table_5,
        "figure2": figure_2,
        "figure3": figure_3,
        "dynamics": dynamics,
    }
)
"""The exhibits by name; each takes the names of the data sets, the main one first, and a user's own systems."""

PAPER = tuple(name for name in EXHIBITS if name != "dynamics")
"""Those of the paper."""


def systems_of(*exhibits: Exhibit) -> Iterator[tuple[str, System]]:
    """Yields the data set and system of every part of some exhibits, each once and in order."""
    seen: list[tuple[str, System]] = []
    for exhibit in exhibits:
        if isinstance(exhibit, Table):
            cells = exhibit.cells.values()
            parts = [(cell.dataset, system) for cell in cells for system in (cell.source, cell.system) if system]
        elif isinstance(exhibit, Dynamics):
            parts = [(dataset, system) for (dataset, _), system in exhibit.systems.items()]
        else:
            parts = [(exhibit.dataset, system) for system in exhibit.systems.values()]
        for part in parts:
            if part not in seen:
                seen.append(part)
                yield part


def _systems(networks: Mapping[str, str]) -> list[System]:
    return [System(title, network) for title, network in networks.items()]
