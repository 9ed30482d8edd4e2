"""Training, evaluation and export of a run on the digits."""

import importlib.resources
import json
import pathlib
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.files import read_table
from racl_tf.networks import make_network, save_pretrained
from racl_tf.runs import train as train_run
from racl_tf.runs.common import load_data, sgd
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.export import run_export
from racl_tf.runs.train import run_training, start_from
from racl_tf.space import GENOTYPES, Genotype
from racl_tf.training import callbacks


@pytest.mark.slow
def test_training_evaluation_and_export_follow_from_a_genotype(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.train.network = "pc_darts"
    config.train.auxiliary = True
    config.train.drop_path = 0.1
    workdir = str(tmp_path)
    best = run_training(config, workdir)
    history = read_table(tmp_path / "train/history.csv")
    assert [row["epoch"] for row in history] == ["1"]
    assert Genotype.load(tmp_path / "train/genotype.json") == GENOTYPES["pc_darts"]

    evaluation, masking = run_evaluation(config, workdir)
    again, found = run_evaluation(config, workdir)
    assert (str(again), str(found)) == (str(evaluation), str(masking))
    network = keras.saving.load_model(best, compile=False)
    test = load_data(config).test
    predictions = np.argmax(network.predict(test.images(), verbose=0), -1)
    np.testing.assert_array_equal(evaluation.correct["clean"], predictions == test.y)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    schema = importlib.resources.files("racl_tf.evaluation").joinpath("results.schema.json").read_text()
    jsonschema.validate(results, json.loads(schema))
    assert results["images"] == len(test)
    assert results["model"] == "train/best.keras"
    assert ("masking" in results) == (masking is not None)  # they are not looked for near chance

    exports = run_export(config, workdir)
    path, difference = exports["saved_model"]
    assert difference < 1e-5
    logits = tf.saved_model.load(str(path)).signatures["logits"](images=tf.constant(test.images()[:3]))["logits"]
    np.testing.assert_allclose(logits, network(test.images()[:3]), rtol=1e-4, atol=1e-5)
    assert run_export(config, workdir) == exports

    network.head.bias.assign_add([1e-4] * 10)
    network.save(best)  # another network, of the same predictions
    with pytest.raises(UsageError, match=r"saved_model' holds another network than train/best\.keras is now"):
        run_export(config, workdir)
    with pytest.raises(UsageError, match="begun with another model: its graph or its weights differ"):
        run_evaluation(config, workdir)


def test_a_finished_training_of_another_genotype_is_not_taken(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.train.network = ""
    GENOTYPES["darts"].save(tmp_path / "search/genotype.json")
    GENOTYPES["darts"].save(tmp_path / "train/genotype.json")
    (tmp_path / "train/finished.json").write_text("{}")
    assert run_training(config, str(tmp_path)) == tmp_path / "train/best.keras"
    GENOTYPES["pc_darts"].save(tmp_path / "search/genotype.json")
    with pytest.raises(UsageError, match="begun with another genotype"):
        run_training(config, str(tmp_path))


def test_a_network_starts_from_the_weights_of_another(tmp_path: pathlib.Path) -> None:
    def dense(classes: int) -> keras.Model:
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(classes)])

    trained, fresh = dense(3), dense(3)
    trained.save(tmp_path / "best.keras")
    start_from(fresh, str(tmp_path / "best.keras"))
    for weight, value in zip(fresh.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, value)
    with pytest.raises(UsageError, match=r"best\.keras' are not those of the network that is trained"):
        start_from(dense(4), str(tmp_path / "best.keras"))


@pytest.mark.parametrize(("name", "options"), [("racl", {"channels": 4, "cells": 3, "auxiliary": True}), ("l2nnn", {})])
def test_another_number_of_classes_takes_all_but_the_classifier(
    name: str, options: dict[str, Any], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    def made(classes: int, seed: int) -> keras.Model:
        return make_network(name, classes, seed=seed, input_shape=(8, 8, 1), **options)

    trained, fresh, before = made(3, 0), made(5, 1), made(5, 1)
    with caplog.at_level("INFO", "racl_tf"):
        start_from(fresh, str(save_pretrained(trained, tmp_path / "trained")))
    assert "but for the classifier's, which has another number of classes" in caplog.text
    heads = {id(weight) for weight in fresh.classifier_weights}
    for weight, taken, own in zip(fresh.weights, trained.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, own if id(weight) in heads else taken)
    assert {5} == {weight.shape[-1] for weight in fresh.classifier_weights}
    with pytest.raises(UsageError, match=r"trained' are not those of the network that is trained"):
        start_from(make_network("resnet18", 5, channels=2, input_shape=(8, 8, 1)), str(tmp_path / "trained"))


def test_training_without_a_search_says_what_to_do(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="Run racl-search"):
        run_training(config, str(tmp_path))
    with pytest.raises(UsageError, match="Run racl-train"):
        run_evaluation(config, str(tmp_path))


def test_the_rate_is_divided_at_the_first_step_of_each_milestone(config: ConfigDict) -> None:
    rate = sgd(config.train, 40, milestones=[10, 30])._learning_rate
    steps = tf.range(40, dtype=tf.int64)
    np.testing.assert_allclose([rate(step) for step in steps], [0.1] * 10 + [0.01] * 20 + [0.001] * 10, rtol=1e-6)
    cosine = sgd(config.train, 40)._learning_rate
    np.testing.assert_allclose(cosine(steps[20]), 0.05, rtol=1e-5)


class Watch(callbacks.StopOnDivergence):
    """Notes the learning rate of every step and what is dropped, and stands in for a user who presses Ctrl-C."""

    rates: list[float]
    shares: list[float]
    last: int

    def on_epoch_begin(self, epoch: int, logs: callbacks.Logs = None) -> None:
        if epoch == Watch.last:
            raise KeyboardInterrupt
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: callbacks.Logs = None) -> None:
        Watch.rates.append(float(self.model.optimizer.learning_rate))
        Watch.shares.append(float(self.model.network.drop_path_share))


def test_all_images_are_trained_on_the_last_epoch_stays_and_going_on_changes_nothing(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a schedule of milestones, with drop path that rises over the epochs."""
    config.data.train_size = 90
    changes = {"epochs": 3, "milestones": (2, 3), "batch_size": 30, "held_out": 0, "attack_steps": 1, "cells": 1}
    config.train.update({**changes, "network": "racl", "drop_path": 0.3, "drop_path_ramp": True})
    monkeypatch.setattr(train_run.callbacks, "StopOnDivergence", Watch)
    Watch.rates, Watch.shares, Watch.last = [], [], -1
    whole = keras.saving.load_model(run_training(config, str(tmp_path / "whole")), compile=False)
    np.testing.assert_allclose(Watch.rates, np.repeat([0.1, 0.01, 0.001], 3), rtol=1e-5)  # three steps for 90 images
    np.testing.assert_allclose(Watch.shares, np.repeat([0, 1 / 3, 2 / 3], 3), rtol=1e-6)
    finished = json.loads((tmp_path / "whole/train/finished.json").read_text())
    assert finished == {"monitor": None, "best_epoch": 3, "value": None}
    assert not any(name.startswith("val_") for name in read_table(tmp_path / "whole/train/history.csv")[0])

    rates, Watch.rates, Watch.last = Watch.rates, [], 1
    with pytest.raises(KeyboardInterrupt):
        run_training(config, str(tmp_path / "parts"))
    Watch.last = -1
    parts = keras.saving.load_model(run_training(config, str(tmp_path / "parts")), compile=False)
    assert Watch.rates == rates
    for variable, same in zip(whole.variables, parts.variables, strict=True):
        np.testing.assert_allclose(variable, same, rtol=1e-4, atol=1e-6, err_msg=variable.path)
