"""What a run will take, before it begins."""

import json
import pathlib

import keras
import pytest
from ml_collections import ConfigDict

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.runs import dry_run
from racl_tf.runs.dry_run import DryRun, dry_run_search, dry_run_training, multiply_adds


def test_multiply_adds_of_a_small_network() -> None:
    """Of a convolution 8 x 8 x 3 x 3 x 4 and of a dense layer 256 x 10; besides, one addition for each bias."""
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Flatten()]
    network = keras.Sequential([*layers, keras.layers.Dense(10)])
    found = multiply_adds(network, load_dataset("digits", test_size=8))
    assert found == pytest.approx(8 * 8 * 9 * 4 + 256 * 10, rel=0.05)


def test_the_time_of_a_run_is_that_of_its_parts() -> None:
    run = DryRun(
        "search",
        parameters=1_234_567,
        multiply_adds=12_300_000,
        batch_size=64,
        steps={"warm-up": 100, "search": 300},
        step_seconds={"warm-up": 0.25, "search": 0.5},
        compile_seconds=60.0,
        epoch_seconds=2.0,
        end_seconds=7.0,
        epochs=20,
        memory=1_500_000_000,
        machine_memory=25_000_000_000,
        disk=2_500_000,
    )
    assert run.seconds == 60 + 25 + 150 + 40 + 7
    text = str(run)
    assert "1,234,567 parameters, 12.3 million multiply-adds" in text
    assert "4 min 42 s for 20 epochs: 100 steps of 0.25 s in the warm-up; 300 steps of 0.5 s in the search" in text
    assert "2 s at each epoch's end, 7 s at the run's." in text
    assert "1.50 GB of 25.00 GB" in text
    assert "Disk: 2.5 MB" in text
    assert json.loads(json.dumps(run.to_dict()))["seconds"] == 282


def test_a_training(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    """Its parts are measured, and nothing is written."""
    config.train.update({"network": "racl", "cells": 1, "attack_steps": 1, "validation_steps": 1, "epochs": 7})
    run = dry_run_training(config, str(tmp_path / "run"))
    steps = (len(load_dataset("digits", train_size=256).train) - config.train.held_out) // config.train.batch_size
    assert run.steps == {"training": 7 * steps}
    assert 0 < run.step_seconds["training"] < run.compile_seconds
    assert run.epoch_seconds > 0
    assert 1e8 < run.memory <= run.machine_memory
    assert 3 * 4 * run.parameters < run.disk
    assert not (tmp_path / "run").exists()


def test_a_batch_that_will_not_fit_is_refused_with_one_that_would(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of a fourth of the batch takes 3 GB of 10, so that one image takes 0.1875 GB."""
    taken = iter([1e9, 4e9])
    monkeypatch.setattr(dry_run, "_resident", lambda: next(taken))
    monkeypatch.setattr(dry_run, "_peak", lambda: next(taken))
    monkeypatch.setattr(dry_run, "machine_memory", lambda: 10e9)
    config.train.update({"network": "racl", "cells": 1, "attack_steps": 1, "batch_size": 64})
    with pytest.raises(UsageError, match=r"batches of 64 takes about 13\.00 GB.* has 10\.00 GB\. A batch of 48 would"):
        dry_run_training(config, str(tmp_path))


def test_of_random_cells_there_is_nothing_to_measure(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.search.mode = "random"
    with pytest.raises(UsageError, match="Nothing is searched in mode 'random'"):
        dry_run_search(config, str(tmp_path))


@pytest.mark.slow
def test_a_search(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.search.update({"epochs": 5, "warmup_epochs": 5})
    run = dry_run_search(config, str(tmp_path / "run"))
    assert run.steps == {"warm-up": 5 * (128 // config.search.batch_size)}
    assert 0 < run.step_seconds["warm-up"] < run.compile_seconds
    assert not (tmp_path / "run").exists()
