"""A whole run on the digits, interrupted and continued."""

import importlib.resources
import json
import pathlib
from collections.abc import Callable

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.files import read_table
from racl_tf.runs import evaluations, steps
from racl_tf.settings import check_settings
from racl_tf.space import GENOTYPES, Genotype

Configuration = Callable[..., ConfigDict]


@pytest.fixture
def config(configuration: Configuration) -> ConfigDict:
    config = configuration("digits", "smoke")
    config.data.train_size = 256
    return config


class Interruption(keras.callbacks.Callback):
    """Stands in for a user who presses Ctrl-C in the second epoch."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_search_ends_like_an_uninterrupted_one(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.search.warmup_epochs = 0
    whole = steps.run_search(config, str(tmp_path / "whole"))

    with monkeypatch.context() as patch:
        patch.setattr(steps.callbacks, "StopOnDivergence", Interruption)
        with pytest.raises(KeyboardInterrupt):
            steps.run_search(config, str(tmp_path / "parts"))
    assert not (tmp_path / "parts/search/genotype.json").exists()
    assert steps.run_search(config, str(tmp_path / "parts")) == whole

    for name in ("steps.csv", "history.csv"):
        one, other = (read_table(tmp_path / run / "search" / name) for run in ("whole", "parts"))
        assert len(one) == len(other)
        for row, same in zip(one, other, strict=True):
            for column in row.keys() - {"seconds"}:
                np.testing.assert_allclose(float(row[column]), float(same[column]), rtol=1e-3, atol=1e-5)
    lines = (tmp_path / "parts/search/architecture.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_training_evaluation_and_export_follow_from_a_genotype(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.train.network = "pc_darts"
    config.train.auxiliary = True
    config.train.drop_path = 0.1
    workdir = str(tmp_path)
    best = steps.run_training(config, workdir)
    history = read_table(tmp_path / "train/history.csv")
    assert [row["epoch"] for row in history] == ["1"]
    assert Genotype.load(tmp_path / "train/genotype.json") == GENOTYPES["pc_darts"]

    evaluation, findings = evaluations.run_evaluation(config, workdir)
    again, found = evaluations.run_evaluation(config, workdir)
    assert (str(again), str(found)) == (str(evaluation), str(findings))
    network = keras.saving.load_model(best, compile=False)
    test = steps.load_data(config).test
    predictions = np.argmax(network.predict(test.images(), verbose=0), -1)
    np.testing.assert_array_equal(evaluation.correct["clean"], predictions == test.y)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    schema = importlib.resources.files("racl_tf.evaluation").joinpath("results.schema.json").read_text()
    jsonschema.validate(results, json.loads(schema))
    assert results["images"] == len(test)
    assert results["model"] == "train/best.keras"
    assert len(results["masking"]["findings"]) > 5

    path, difference = steps.run_export(config, workdir)
    assert difference < 1e-5
    logits = tf.saved_model.load(str(path)).signatures["logits"](images=tf.constant(test.images()[:3]))["logits"]
    np.testing.assert_allclose(logits, network(test.images()[:3]), rtol=1e-4, atol=1e-5)


def test_training_without_a_search_says_what_to_do(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="Run racl-search"):
        steps.run_training(config, str(tmp_path))
    with pytest.raises(UsageError, match="Run racl-train"):
        evaluations.run_evaluation(config, str(tmp_path))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "digits", "reproduction", "study"])
@pytest.mark.parametrize("variant", [(), ("cpu",), ("smoke",)], ids=str)
def test_every_configuration_s_numbers_are_in_their_ranges(
    configuration: Configuration, name: str, variant: tuple[str, ...]
) -> None:
    check_settings(configuration(name, *variant))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist"])
def test_the_configurations_hold_the_paper_s_settings(configuration: Configuration, name: str) -> None:
    config = configuration(name)
    assert config.data.name == name
    search = config.search
    assert (search.mode, search.channels, search.cells, search.partial) == ("racl", 16, 8, None)
    assert (search.epochs, search.warmup_epochs, search.batch_size) == (50, 15, 128)
    assert (search.learning_rate, search.momentum, search.weight_decay) == (0.1, 0.9, 3e-4)
    assert (search.architecture_learning_rate, search.architecture_weight_decay) == (6e-4, 1e-3)
    assert (search.eta, search.rho) == (0.9, 1e-3)
    assert (config.train.defence, config.train.attack_steps) == ("pgd", 7)
    threat = (76.5, 20) if name == "mnist" else (8, 2)
    assert (config.attack.eps * 255, config.attack.step_size * 255) == pytest.approx(threat)
    for variant in ("cpu", "smoke"):
        smaller = configuration(name, variant)
        assert smaller.data.name == name
        assert smaller.train.cells < 20
