"""The sampling of architectures as a step of a run."""

import json
import pathlib

import pytest
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.runs.choose import run_choice
from racl_tf.runs.search import load_search, run_search
from racl_tf.runs.train import run_training
from racl_tf.search.sampling_result import SamplingResult
from racl_tf.settings import DATASETS, SMOKE, paper_settings
from racl_tf.space import Genotype


@pytest.fixture
def config() -> ConfigDict:
    config = paper_settings()
    small = {"data.train_size": 128, "search.sigma": 0.4, "search.cells": 2, "choose.images": 16, "choose.samples": 3}
    config.update_from_flattened_dict({**SMOKE, **DATASETS["digits"], **small})
    config.choose.attack = "fgsm"
    return config


@pytest.mark.slow
def test_the_search_s_distribution_is_drawn_from_and_the_best_is_kept(
    config: ConfigDict, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    workdir = str(tmp_path)
    with pytest.raises(UsageError, match="Run racl-search"):
        run_choice(config, workdir)
    median = run_search(config, workdir)
    search = load_search(config, workdir)
    assert search.genotype() == median
    assert int(search.steps) > 0

    config.choose.images = 1000
    with pytest.raises(UsageError, match="has 64 images, fewer than"):
        run_choice(config, workdir)
    assert not (tmp_path / "choose").exists()

    config.choose.images = 16
    with caplog.at_level("INFO", "racl_tf"):
        result = run_choice(config, workdir)
    assert "Choice among 3 architectures drawn from the search" in caplog.text
    assert isinstance(result, SamplingResult)
    assert result.samples == 3
    assert result.images == 16
    chosen = Genotype.load(tmp_path / "choose/genotype.json")
    assert chosen == result.genotype
    assert run_choice(config, workdir) == chosen  # made before
    written = json.loads((tmp_path / "choose/choice.json").read_text())
    assert 0 < written["agreement"] <= 1
    assert "edges of the chosen architecture" in (tmp_path / "choose/choice.txt").read_text()

    config.train.network = str(tmp_path / "choose/genotype.json")
    run_training(config, workdir)
    assert Genotype.load(tmp_path / "train/genotype.json") == chosen


def test_an_ensemble_of_attacks_is_refused(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.choose.attack = "autoattack"
    with pytest.raises(UsageError, match="not by the ensemble 'autoattack'"):
        run_choice(config, str(tmp_path))
