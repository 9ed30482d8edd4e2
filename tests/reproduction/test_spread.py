"""The parts of a variance between and within cells, against closed forms and Monte Carlo."""

import json
import pathlib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.files import write_table
from racl_tf.reproduction import spread
from racl_tf.reproduction.experiment_store import ExperimentStore
from racl_tf.reproduction.runs import run_spread, run_study_share
from racl_tf.reproduction.spread import components_table, variance_components
from racl_tf.reproduction.system import System
from racl_tf.settings import DATASETS, SMOKE, paper_settings


def test_parts_are_those_that_figures_are_drawn_with() -> None:
    """Means over 2,000 layouts of 6 cells with 3 trainings; the interval holds the true share in 95% of them."""
    random = np.random.default_rng(0)
    between, within, layouts = 0.06, 0.04, 2000
    share = between**2 / (between**2 + within**2)
    drawn = between * random.standard_normal((layouts, 6, 1)) + within * random.standard_normal((layouts, 6, 3))
    found = [variance_components(layout) for layout in drawn]
    assert np.mean([part.within**2 for part in found]) == pytest.approx(within**2, rel=0.03)
    assert np.mean([part.between**2 for part in found]) == pytest.approx(between**2, rel=0.06)
    assert np.mean([part.low <= share <= part.high for part in found]) == pytest.approx(0.95, abs=0.015)


def test_the_p_value_is_uniform_where_cells_are_alike() -> None:
    random = np.random.default_rng(1)
    p = [variance_components(random.standard_normal((5, 3))).p_value for _ in range(2000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_the_detectable_difference_is_found_with_that_power() -> None:
    """Student's t test of two ways of 8 seeds that differ by it is significant in 80%."""
    random = np.random.default_rng(2)
    parts = variance_components(random.standard_normal((200, 20)) + 2 * random.standard_normal((200, 1)))
    deviation = np.hypot(parts.between, parts.within)
    first, second = deviation * random.standard_normal((2, 4000, 8))
    p = stats.ttest_ind(first + parts.detectable(8), second, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.03)


def test_extremes() -> None:
    alike = variance_components([[0.5, 0.7], [0.7, 0.5]])
    assert (alike.between, alike.share, alike.low, alike.p_value) == (0, 0, 0, 1)
    exact = variance_components([[0.5, 0.5], [0.7, 0.7]])
    assert (exact.within, exact.share, exact.low, exact.p_value) == (0, 1, 1, 0)
    for figures in ([[1.0], [2.0]], [[1.0, 2.0]], [1.0, 2.0]):
        with pytest.raises(UsageError, match="two cells of two trainings each"):
            variance_components(figures)


def test_the_table() -> None:
    table = components_table({"3 epochs": variance_components([[0.5, 0.52], [0.6, 0.62]])}, [8])
    assert table.splitlines()[2].startswith("| 3 epochs | 56.0 | 7.0 | 1.4 | 96% [")


class FakeLab(ExperimentStore):
    """Measures nothing: cells differ by ten images of a hundred, trainings by two, epochs by one each."""

    order: list[str]

    def check(self, systems: Iterable[System], attacks: Iterable[str] = ()) -> None:
        type(self).order = []

    def evaluate(self, system: System, attacks: Iterable[str]) -> dict[str, Any]:
        type(self).order.append(system.title)
        cell, epochs = int(pathlib.Path(system.network).stem[4]), system.changes["train.epochs"]
        correct = np.arange(100) < 50 + 10 * cell + 2 * (system.changes["seed"] - 4) + epochs
        rows = [{"epoch": str(epoch + 1), "val_robust_accuracy": str(0.1 * epoch)} for epoch in range(epochs)]
        write_table(self.network_folder(system) / file_names.TRAIN / file_names.HISTORY, rows)
        return {name: SimpleNamespace(clean=np.ones(100, bool), correct={name: correct}) for name in attacks}

    def parameters(self, system: System) -> int:
        return 100 - int(pathlib.Path(system.network).stem[4])


@pytest.fixture
def config() -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict({**DATASETS["digits"], **SMOKE, "seed": 4, "study.attacks": ("pgd10",)})
    config.study.update({"trainings": 2, "cells": 3, "lengths": (5, 10)})
    return config


def test_every_cell_is_trained_from_every_seed_at_every_length(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "ExperimentStore", FakeLab)
    found = run_spread(config, str(tmp_path))
    assert len(FakeLab.order) == len(set(FakeLab.order)) == 3 * 2 * 2
    np.testing.assert_allclose(found.accuracies[10]["pgd10"], [[0.6, 0.62], [0.7, 0.72], [0.8, 0.82]])
    assert found.gains == {5: pytest.approx(0.1), 10: pytest.approx(0.2)}
    assert found.size_correlation(5, "pgd10") == pytest.approx(-1)
    part = found.components("pgd10")["5 epochs"]
    assert (part.within, part.between) == pytest.approx((0.02 / 2**0.5, (0.01 - 0.0001) ** 0.5))
    page = (tmp_path / file_names.SPREAD_PAGE).read_text()
    assert "| 10 | +20.0 | -1.00 |" in page
    assert "nan" not in page
    written = json.loads((tmp_path / file_names.SPREAD).read_text())
    assert written["parameters"] == [100, 99, 98]
    assert written["accuracies"]["5"]["pgd10"][0] == [0.55, 0.57]


def test_shares_of_the_cells_make_each_training_once(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "ExperimentStore", FakeLab)
    made: list[str] = []
    for share in ("1/5", "2/5", "3/5", "4/5", "5/5"):
        config.study.shard = share
        run_study_share(config, str(tmp_path))
        assert 2 <= len(FakeLab.order) <= 3
        made += FakeLab.order
    assert len(made) == len(set(made)) == 3 * 2 * 2
    assert not (tmp_path / file_names.SPREAD_PAGE).exists()


def test_too_few(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.study.trainings = 1
    with pytest.raises(UsageError, match=r"two cells and two trainings.*study.trainings=1"):
        run_spread(config, str(tmp_path))
