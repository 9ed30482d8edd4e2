"""Several seeds of each way to search, retrained and attacked alike: is the difference real?"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.errors import UsageError, unknown
from racl_tf.files import read_json, read_json_lines, read_table, write_json
from racl_tf.lipschitz.bounds import lipschitz_bounds
from racl_tf.lipschitz.genotype_surrogate import log_surrogate
from racl_tf.lipschitz.operation_norms import NORM_KINDS
from racl_tf.networks.loading import load_network
from racl_tf.reproduction.experiment_store import ExperimentStore, made_by, wall_time
from racl_tf.reproduction.parallel import Shard
from racl_tf.reproduction.system import System
from racl_tf.settings import PRINTED

PARAMETERS = "ln parameters"
_SLOPES = 100  # images at which the slope is measured


def _constrained(mode: str, norms: str = "matrix", *, scale_free: bool = False) -> Mapping[str, Any]:
    return {"search.mode": mode, "search.norms": norms, "search.scale_free": scale_free}


VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "RACL printed, matrix norms": {**PRINTED, **_constrained("racl", "matrix")},
        "RACL, matrix norms": _constrained("racl", "matrix"),
        "RACL, operator norms": _constrained("racl", "operator"),
        "RACL scale-free, matrix norms": _constrained("racl", "matrix", scale_free=True),
        "RACL scale-free, operator norms": _constrained("racl", "operator", scale_free=True),
        "without confidence learning": _constrained("no_confidence"),
        "PC-DARTS": {"search.mode": "pc_darts"},
        "random cells": {"search.mode": "random"},
    }
)
"""The settings of what is compared, by name: each of a constrained search says all in which these differ."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one variant gave from one seed.

    Arguments:
        correct: which test images are correct, bool (N,), for "clean" and each attack.
        search: what the search logged last: of its steps c, mu_F and the like, of its epochs how mu moved; empty
            for random cells.
        figures: of the trained network: the logarithms of its number of parameters, of the surrogate constant in both
            readings, of the largest slope found and of the upper bound; of the search c and mu_F, if there was a
            constraint.
        genotype: the cell as text.
        seconds: that search, training and attacks took.
        versions: by which they were made.
    """

    correct: Mapping[str, np.ndarray]
    search: Mapping[str, float]
    figures: Mapping[str, float]
    genotype: str
    seconds: float
    versions: str


def run_systems(
    config: ConfigDict, folder: str | pathlib.Path, *, shard: Shard | None = None
) -> dict[str, list[Outcome]]:
    """Searches, trains and attacks every variant from every seed, and returns the outcomes, seed by seed.

    Arguments:
        config: the study's.
        folder: of everything that is kept.
        shard: the share that is made; nothing is returned then.

    Raises:
        UsageError: a variant is unknown, there are fewer than two seeds or no attacks, or what
            `ExperimentStore.check` finds.
    """
    names = tuple(config.study.variants) or tuple(VARIANTS)
    for name in names:
        if name not in VARIANTS:
            raise unknown("variant", name, VARIANTS)
    if config.study.seeds < 2:
        raise UsageError(f"A study needs two seeds at least. Received: study.seeds={config.study.seeds}.")
    if not config.study.attacks:
        raise UsageError("A study needs an attack. Received: study.attacks=().")
    store = ExperimentStore(config, folder)
    seeds = range(config.seed, config.seed + config.study.seeds)
    systems = {(name, seed): _system(name, seed) for seed in seeds for name in names}
    attacks = (*config.study.attacks, *filter(None, (config.study.check,)))
    store.check((system for (_, seed), system in systems.items() if seed == config.seed), attacks)
    made = {key: partial(_outcome, store, system, config.study.attacks) for key, system in systems.items()}
    if shard:
        shard.make(list(made.values()))
        return {}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    for (name, _), outcome in made.items():
        outcomes[name].append(outcome())
    return outcomes


@dataclass(frozen=True)
class Checked:
    """A network that a stronger attack was run on as well.

    Arguments:
        variant: by which its cell was searched.
        place: among the variant's networks by robust accuracy, "best" or "median" (of an even number the better one).
        seed: that it was searched and trained from.
        robust: its accuracy in [0, 1] under the attack that is compared.
        checked: its accuracy under the stronger one.
    """

    variant: str
    place: str
    seed: int
    robust: float
    checked: float


def check_ranking(
    config: ConfigDict, folder: str | pathlib.Path, outcomes: Mapping[str, Sequence[Outcome]]
) -> list[Checked]:
    """Attacks the best and the median network of every variant by `study.check` as well.

    Arguments:
        config: the study's.
        folder: of everything that is kept.
        outcomes: as `run_systems` returns them.
    """
    store, attack, found = ExperimentStore(config, folder), config.study.attacks[-1], []
    for variant, runs in outcomes.items():
        robust = [run.correct[attack].mean() for run in runs]
        order = sorted(range(len(runs)), key=lambda index: -robust[index])
        for place, index in {"best": order[0], "median": order[(len(order) - 1) // 2]}.items():
            seed = config.seed + index
            (evaluation,) = store.evaluate(_system(variant, seed), (config.study.check,)).values()
            accuracy = float(evaluation.correct[config.study.check].mean())
            found.append(Checked(variant, place, seed, float(robust[index]), accuracy))
    return found


def _system(variant: str, seed: int) -> System:
    return System(f"{variant}, seed {seed}", "", {**VARIANTS[variant], "seed": seed})


def _outcome(store: ExperimentStore, system: System, attacks: Iterable[str]) -> Outcome:
    evaluations = store.evaluate(system, attacks)
    folders = [*store.run_folders(system), *(store.attack_folder(system, attack) for attack in attacks)]
    correct = {name: evaluation.correct[name] for name, evaluation in evaluations.items()}
    search = _last_logs(store.search_folder(system) / file_names.SEARCH)
    constrained = {name: search[name] for name in ("constraint", "mu_F") if "constraint" in search}
    return Outcome(
        correct={"clean": next(iter(evaluations.values())).clean, **correct},
        search=search,
        figures=_figures(store, system) | constrained,
        genotype=str(store.genotype(system)),
        seconds=wall_time(folders),
        versions=made_by(folders),
    )


def _figures(store: ExperimentStore, system: System) -> dict[str, float]:
    """Returns what is measured of a trained network, from the file that keeps it if it was measured before."""
    kept = store.network_folder(system) / file_names.FIGURES.format(seed=store.config.seed)
    if not kept.exists() or PARAMETERS not in read_json(kept):
        network = load_network(store.train(system))
        pair = lipschitz_bounds(network, store.data.test.images(np.arange(min(len(store.data.test), _SLOPES))))
        surrogates = {f"ln surrogate, {kind}": log_surrogate(network, norm_kind=kind) for kind in NORM_KINDS}
        bounds = {"ln largest slope found": _log(pair.lower), "ln upper bound": _log(pair.upper)}
        size = {PARAMETERS: _log(float(store.parameters(system) or 0))}
        write_json(kept, size | surrogates | bounds)
    return read_json(kept)


def _log(value: float) -> float:
    return math.log(value) if value else -math.inf


def _last_logs(folder: pathlib.Path) -> dict[str, float]:
    steps = read_table(folder / file_names.STEPS)
    if not steps:
        return {}
    numbers = {name: float(value) for name, value in steps[-1].items() if value and name not in ("epoch", "step")}
    moved = read_json_lines(folder / file_names.ARCHITECTURE)[-1]
    return numbers | {name: value for name, value in moved.items() if isinstance(value, float)}
