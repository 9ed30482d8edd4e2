"""What share of the spread of accuracies lies between cells, which tells whether a budget can rank them."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from ml_collections import ConfigDict
from scipy import stats

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.evaluation import detectable_difference
from racl_tf.files import read_table
from racl_tf.reproduction.experiment_store import ExperimentStore, made_by
from racl_tf.reproduction.pages import sizes
from racl_tf.reproduction.parallel import Shard
from racl_tf.reproduction.system import System
from racl_tf.result import Result
from racl_tf.seeding import derive
from racl_tf.space import random_genotype
from racl_tf.tables import markdown_table


@dataclass(frozen=True)
class Components:
    """The variance of one figure over cells, each trained several times, in its two parts.

    Arguments:
        mean: of all trainings.
        between: the standard deviation between cells, of what a cell's trainings share; 0 where it is not seen.
        within: the standard deviation between the trainings of one cell.
        share: of the variance that lies between cells, in [0, 1].
        low: the lower end of its 95% interval.
        high: the upper end.
        p_value: of the F test that all cells are alike.
        cells: their number.
        trainings: of each cell.
    """

    mean: float
    between: float
    within: float
    share: float
    low: float
    high: float
    p_value: float
    cells: int
    trainings: int

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures, ready for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        return (
            f"{self.share:.0%} [{self.low:.0%}, {self.high:.0%}] of the variance lies between {self.cells} cells of "
            f"{self.trainings} trainings each (F test: p = {self.p_value:.2g}); standard deviations {self.between:.3g} "
            f"between and {self.within:.3g} within cells."
        )

    def detectable(self, seeds: int, *, power: float = 0.8) -> float:
        """Returns the difference of means that two ways to search show with a power at the 5% level, unpaired.

        Each seed of each way trains one cell of its own, so that both parts of the variance count.

        Arguments:
            seeds: of each way.
            power: in (0, 1).
        """
        return detectable_difference(math.hypot(self.between, self.within), seeds, power=power)


def variance_components(figures: npt.ArrayLike) -> Components:
    r"""Returns the parts of the variance between and within groups, from a one-way layout of random effects.

    With mean squares $MS_b$ between and $MS_w$ within k groups of n, the variances are
    $(MS_b - MS_w) / n$, at least 0, and $MS_w$; the interval of the share inverts the F distribution of their ratio
    (Searle, Casella and McCulloch, Variance Components, 1992, Section 3.6).

    Arguments:
        figures: (groups, trainings of each), two of each at least.

    Raises:
        UsageError: for another shape.

    >>> components = variance_components([[1, 1.2], [2, 2.2], [3, 3.2]])
    >>> print(f"{components.share:.2f} {components.within:.2f}")
    0.98 0.14
    """
    values = np.asarray(figures, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise UsageError(
            f"Parts of a variance take two cells of two trainings each at least. Received figures of {values.shape}."
        )
    cells, trainings = values.shape
    means = values.mean(1)
    between = trainings * float(means.var(ddof=1))
    within = float(values.var(1, ddof=1).mean())
    freedom = cells - 1, cells * (trainings - 1)
    ratio = between / within if within else math.inf
    variance = max(0.0, (between - within) / trainings)
    low, high = (_share(ratio / float(stats.f.ppf(level, *freedom)), trainings) for level in (0.975, 0.025))
    return Components(
        mean=float(values.mean()),
        between=math.sqrt(variance),
        within=math.sqrt(within),
        share=variance / (variance + within) if variance else 0.0,
        low=low,
        high=high,
        p_value=float(stats.f.sf(ratio, *freedom)),
        cells=cells,
        trainings=trainings,
    )


def _share(ratio: float, trainings: int) -> float:
    """Returns the share of the variance between groups that makes a ratio of mean squares, within [0, 1]."""
    if math.isinf(ratio):
        return 1.0
    return max(0.0, (ratio - 1) / (ratio - 1 + trainings))


@dataclass(frozen=True, eq=False)
class Spread(Result):
    """Accuracies of random cells, each trained several times, at several lengths of training.

    Arguments:
        accuracies: by number of epochs, then by "clean" or attack, in [0, 1] (cells, trainings).
        gains: by number of epochs, what the last fifth of the training added to the robust accuracy on held-out images
            (that of the last epoch less that of the epoch at four fifths), averaged over all trainings; NaN if none was
            measured.
        parameters: of each cell's network.
        notes: what a reader has to know of the runs.
    """

    accuracies: Mapping[int, Mapping[str, np.ndarray]]
    gains: Mapping[int, float]
    parameters: Sequence[int]
    notes: tuple[str, ...] = ()

    def components(self, name: str) -> dict[str, Components]:
        """Returns the parts of a figure's variance by number of epochs."""
        return {f"{epochs} epochs": variance_components(each[name]) for epochs, each in self.accuracies.items()}

    def size_correlation(self, epochs: int, name: str) -> float:
        """Returns Spearman's rank correlation of cells' parameters with their mean accuracy."""
        return float(stats.spearmanr(self.parameters, self.accuracies[epochs][name].mean(1)).statistic)

    def to_dict(self) -> dict[str, Any]:
        names = list(next(iter(self.accuracies.values())))
        return {
            "accuracies": {
                str(epochs): {name: found.tolist() for name, found in each.items()}
                for epochs, each in self.accuracies.items()
            },
            "components": {
                name: {budget: part.to_dict() for budget, part in self.components(name).items()} for name in names
            },
            "gains": {str(epochs): None if math.isnan(gain) else gain for epochs, gain in self.gains.items()},
            "parameters": list(self.parameters),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        names = list(next(iter(self.accuracies.values())))
        cells, trainings = next(iter(next(iter(self.accuracies.values())).values())).shape
        parts = [
            "## What a budget can rank",
            f"{cells} random cells, each trained from {trainings} seeds: mean accuracy and its standard deviations in "
            "percentage points; the share of the variance that lies between cells with its 95% interval, and p of the "
            "F test that all are alike; the difference that two ways to search show with a power of 80% at 5%.",
        ]
        for name in names:
            parts += [f"### {name}", components_table(self.components(name), (5, 8, 20))]
        rows = []
        for epochs in self.accuracies:
            gain = "-" if math.isnan(self.gains[epochs]) else f"{100 * self.gains[epochs]:+.1f}"
            rows.append([str(epochs), gain, f"{self.size_correlation(epochs, names[-1]):+.2f}"])
        parts += [
            "What the last fifth of the training adds to robust accuracy on held-out images, in percentage points, and "
            f"the rank correlation of a cell's parameters with its mean accuracy under {names[-1]}:",
            markdown_table(["epochs", "last fifth adds", "rank correlation with size"], rows),
            "\n".join(f"* {note}" for note in self.notes),
        ]
        return "\n\n".join(parts) + "\n"


def make_random_cells(config: ConfigDict, folder: pathlib.Path, shard: Shard) -> None:
    """Makes a share of what `train_random_cells` needs, and raises what that raises."""
    store, systems = _random_cells(config, folder)
    shard.make([partial(store.evaluate, system, config.study.attacks) for system in systems.values()])


def _random_cells(
    config: ConfigDict, folder: pathlib.Path
) -> tuple[ExperimentStore, dict[tuple[int, int, int], System]]:
    """Returns the store and the systems by their epochs, cell and seed."""
    settings = config.study
    if min(settings.cells, settings.trainings) < 2 or not settings.lengths or not settings.attacks:
        raise UsageError(
            "A spread takes two cells and two trainings at least, a length of training and an attack. Received: "
            f"study.cells={settings.cells}, study.trainings={settings.trainings}, study.lengths={settings.lengths}, "
            f"study.attacks={settings.attacks}."
        )
    store = ExperimentStore(config, folder)
    paths = []
    for cell in range(settings.cells):
        path = folder / file_names.RANDOM_CELLS / f"cell{cell}_seed{config.seed}.json"
        random_genotype(derive(config.seed, f"spread/{cell}"), name=f"random cell {cell}").save(path)
        paths.append(path)
    systems = {
        (epochs, cell, seed): System(
            f"cell {cell}, seed {seed}, {epochs} epochs", str(path), {"train.epochs": epochs, "seed": seed}
        )
        for epochs in settings.lengths
        for seed in range(config.seed, config.seed + settings.trainings)
        for cell, path in enumerate(paths)
    }
    store.check(list(systems.values())[: len(paths)], settings.attacks)
    return store, systems


def train_random_cells(config: ConfigDict, folder: pathlib.Path) -> Spread:
    """Trains and attacks `study.cells` random cells from `study.trainings` seeds for each of `study.lengths` epochs.

    Raises:
        UsageError: there are fewer than two cells or trainings, no lengths or attacks, or what
            `ExperimentStore.check` finds.
    """
    settings = config.study
    store, systems = _random_cells(config, folder)
    accuracies = {
        epochs: {name: np.empty((settings.cells, settings.trainings)) for name in ("clean", *settings.attacks)}
        for epochs in settings.lengths
    }
    gains: dict[int, list[float]] = {epochs: [] for epochs in settings.lengths}
    for (epochs, cell, seed), system in systems.items():
        evaluations = store.evaluate(system, settings.attacks)
        place = cell, seed - config.seed
        accuracies[epochs]["clean"][place] = next(iter(evaluations.values())).clean.mean()
        for name, evaluation in evaluations.items():
            accuracies[epochs][name][place] = evaluation.correct[name].mean()
        history = read_table(store.network_folder(system) / file_names.TRAIN / file_names.HISTORY)
        robust = [float(row.get("val_robust_accuracy") or "nan") for row in history]
        gains[epochs].append(robust[-1] - robust[math.ceil(0.8 * len(robust)) - 1])
    folders = [*(path for system in systems.values() for path in store.run_folders(system))]
    counts = [store.parameters(system) or 0 for system in list(systems.values())[: settings.cells]]
    return Spread(
        accuracies,
        {epochs: float(np.mean(found)) for epochs, found in gains.items()},
        counts,
        (f"{sizes(store)}; trained under {config.train.defence!r}.", f"Made by {made_by(folders)}."),
    )


def components_table(components: Mapping[str, Components], seeds: Sequence[int]) -> str:
    """Returns a table in Markdown of a figure's parts for each budget, in percentage points.

    Arguments:
        components: of accuracies in [0, 1], by budget.
        seeds: numbers of seeds for which the detectable difference is told.
    """
    heading = ["budget", "mean", "between cells", "within cells", "share between", "p"]
    heading += [f"detectable with {count} seeds" for count in seeds]
    rows = []
    for name, part in components.items():
        points = [f"{100 * value:.1f}" for value in (part.mean, part.between, part.within)]
        share = f"{part.share:.0%} [{part.low:.0%}, {part.high:.0%}]"
        rows.append(
            [name, *points, share, f"{part.p_value:.2g}", *(f"{100 * part.detectable(count):.1f}" for count in seeds)]
        )
    return markdown_table(heading, rows)
