"""The study runs every variant from every seed, each with settings of its own, and keeps what it measures."""

import json
import math
import pathlib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.files import write_json, write_table
from racl_tf.lipschitz.bounds import LipschitzPair
from racl_tf.reproduction import study
from racl_tf.reproduction.experiment_store import ExperimentStore
from racl_tf.reproduction.study import VARIANTS, run_systems
from racl_tf.reproduction.study_report import BASELINES
from racl_tf.reproduction.system import System
from racl_tf.search.modes import search_mode
from racl_tf.settings import DATASETS, SMOKE, paper_settings
from racl_tf.space import GENOTYPES, Genotype


@pytest.fixture
def config() -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict(
        {**DATASETS["digits"], **SMOKE, "study.seeds": 2, "study.attacks": ("fgsm", "pgd10"), "seed": 4}
    )
    return config


class FakeLab(ExperimentStore):
    """Measures nothing: images stand by the seed and the attack, and searches have left their logs."""

    checked: list[str]
    order: list[str]

    def check(self, systems: Iterable[System], attacks: Iterable[str] = ()) -> None:
        type(self).checked = [*(system.title for system in systems), *attacks]

    def evaluate(self, system: System, attacks: Iterable[str]) -> dict[str, Any]:
        type(self).order.append(system.title)
        settings, folder = self.settings(system), self.search_folder(system) / "search"
        if settings.search.mode != "random":
            moved = {"epoch": 2, "genotype": "", "mu_alpha_common": -0.25, "entropy_alpha": 2.0}
            (folder.parent / "search").mkdir(parents=True, exist_ok=True)
            (folder / "architecture.jsonl").write_text(
                json.dumps(moved | {"entropy_alpha": 2.08}) + "\n" + json.dumps(moved)
            )
            constrained = {"constraint": "0.5", "mu_F": "3"} if search_mode(settings.search.mode).constrained else {}
            empty = {"constraint": "", "mu_F": ""}
            rows = [{"epoch": "1", "step": "1", **empty}, {"epoch": "2", "step": "9", **empty, **constrained}]
            write_table(folder / "steps.csv", rows)
        for name in (*attacks, "of a table"):
            write_json(self.attack_folder(system, name) / "results.json", {"seconds": 1.0})
        clean = np.arange(8) < 7
        return {
            name: SimpleNamespace(clean=clean, correct={name: np.arange(8) < settings.seed - index})
            for index, name in enumerate(attacks)
        }

    def train(self, system: System) -> pathlib.Path:
        return self.network_folder(system) / "best.keras"

    def parameters(self, system: System) -> int:
        return 1234

    def genotype(self, system: System) -> Genotype:
        return GENOTYPES["racl"]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[pathlib.Path]:
    """Puts known figures in the place of those of trained networks, and returns which were loaded."""
    loaded: list[pathlib.Path] = []
    FakeLab.checked, FakeLab.order = [], []
    monkeypatch.setattr(study, "ExperimentStore", FakeLab)
    monkeypatch.setattr(study, "load_network", loaded.append)
    monkeypatch.setattr(study, "lipschitz_bounds", lambda network, images: LipschitzPair(0.0, math.exp(3)))
    monkeypatch.setattr(study, "log_surrogate", lambda _, norm_kind: {"matrix": -5.0, "operator": -2.0}[norm_kind])
    return loaded


def test_variants_differ_in_their_search_alone_and_in_nothing_that_a_user_sets_for_all(config: ConfigDict) -> None:
    """Each names its mode; each with a constraint names the norms and whether it is scale-free, as these differ."""
    searches = set()
    config.search.update({"mode": "darts", "norms": "operator", "scale_free": True})
    store = ExperimentStore(config, "unused")
    for name, changes in VARIANTS.items():
        assert all(setting.startswith("search.") for setting in changes)
        mode = search_mode(changes["search.mode"])
        assert mode.constrained == ({"search.norms", "search.scale_free"} <= changes.keys())
        searches.add(store.search_folder(System(name, "", changes)))
    assert len(searches) == len(VARIANTS)
    assert {*BASELINES} <= VARIANTS.keys()
    unconstrained = {**VARIANTS["RACL, matrix norms"], "search.mode": "no_confidence"}
    assert VARIANTS["without confidence learning"] == unconstrained


def test_every_variant_is_run_from_every_seed(config: ConfigDict, measured: list, tmp_path: pathlib.Path) -> None:
    outcomes = run_systems(config, tmp_path)
    assert list(outcomes) == list(VARIANTS)
    assert [len(runs) for runs in outcomes.values()] == [2] * len(VARIANTS)
    assert FakeLab.order == [f"{name}, seed {seed}" for seed in (4, 5) for name in VARIANTS]
    assert FakeLab.checked == [*(f"{name}, seed 4" for name in VARIANTS), "fgsm", "pgd10", "apgd_t"]
    for runs in outcomes.values():
        for seed, outcome in zip((4, 5), runs, strict=True):
            assert {name: int(rows.sum()) for name, rows in outcome.correct.items()} == {
                "clean": 7,
                "fgsm": seed,
                "pgd10": seed - 1,
            }
            assert outcome.genotype == str(GENOTYPES["racl"])
            assert outcome.seconds == 2


def test_outcomes_hold_the_last_logs_and_the_figures(
    config: ConfigDict, measured: list, tmp_path: pathlib.Path
) -> None:
    names = ("RACL, operator norms", "PC-DARTS", "random cells")
    config.study.variants = names
    racl, darts, random = (outcomes[0] for outcomes in run_systems(config, tmp_path).values())
    assert racl.search == {"constraint": 0.5, "mu_F": 3, "mu_alpha_common": -0.25, "entropy_alpha": 2}
    assert darts.search == {"mu_alpha_common": -0.25, "entropy_alpha": 2}
    assert random.search == {}
    figures = {
        "ln parameters": pytest.approx(math.log(1234)),
        "ln surrogate, matrix": -5,
        "ln surrogate, operator": -2,
        "ln largest slope found": -math.inf,
        "ln upper bound": pytest.approx(3),
    }
    assert racl.figures == {**figures, "constraint": 0.5, "mu_F": 3}
    assert darts.figures == random.figures == figures
    assert len(measured) == 6
    assert run_systems(config, tmp_path)[names[0]][0].figures == racl.figures
    assert len(measured) == 6, "figures are kept, so that no network is loaded again"


def test_the_best_and_the_median_network_are_attacked_again(
    config: ConfigDict, measured: list, tmp_path: pathlib.Path
) -> None:
    """Networks stand on as many images as their seed says, less one for each attack before."""
    config.study.update({"seeds": 4, "variants": ("PC-DARTS", "random cells")})
    outcomes = run_systems(config, tmp_path)
    FakeLab.order.clear()
    found = study.check_ranking(config, tmp_path, outcomes)
    assert FakeLab.order == [f"{name}, seed {seed}" for name in ("PC-DARTS", "random cells") for seed in (7, 6)]
    assert found[0] == study.Checked("PC-DARTS", "best", 7, 6 / 8, 7 / 8)
    assert found[3] == study.Checked("random cells", "median", 6, 5 / 8, 6 / 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study.check": "apgdt"}, "Did you mean 'apgd"),
        ({"study.variants": ("PC-DARTS", "random cell")}, "Unknown variant 'random cell'. Did you mean 'random cells'"),
        ({"study.seeds": 1}, "two seeds at least. Received: study.seeds=1"),
        ({"study.attacks": ()}, "needs an attack"),
        ({"study.attacks": ("fgsm", "pdg20")}, "Did you mean 'pgd20'"),
        ({"train.defence": "pdg"}, "Did you mean 'pgd'"),
        ({"data.train_size": 60}, "gives 60 training images"),
    ],
)
def test_mistakes_are_found_before_anything_is_computed(
    change: dict[str, object], message: str, config: ConfigDict, tmp_path: pathlib.Path
) -> None:
    config.update_from_flattened_dict(change)
    with pytest.raises(UsageError, match=message):
        run_systems(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
