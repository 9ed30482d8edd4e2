"""When the architecture's training begins, and what is written of it, also where a run goes on."""

import itertools
import json
import logging
import pathlib
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.files import read_table
from racl_tf.networks.supernet import Supernet
from racl_tf.search.callbacks import ArchitectureLog, StepFile, WarmUp
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.search.statistics import architecture_statistics, constraint_statistics
from racl_tf.training.callbacks import HistoryFile

MU = ("mu_alpha", "mu_beta")


@pytest.fixture(scope="module")
def search() -> RACLSearch:
    supernet = Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1))
    search = RACLSearch(supernet, LogNormalArchitecture(sigma=0.2), ConfidenceConstraint())
    search.compile(run_eagerly=True)
    return search


def play(callback: keras.callbacks.Callback, steps: list[dict], *, epochs: int = 1, first: int = 0) -> None:
    """Calls a callback as `fit` does, with the given logs of the steps of every epoch."""
    for epoch in range(first, first + epochs):
        callback.on_epoch_begin(epoch)
        for step, logs in enumerate(steps):
            callback.on_train_batch_end(step, dict(logs))
        callback.on_epoch_end(epoch, {})


def test_warm_up_switches_once(
    search: RACLSearch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fixed for the given number of epochs, from whichever epoch a run starts, with a new graph and a log line."""
    caplog.set_level(logging.INFO, "racl_tf.search.callbacks")
    traced = []
    monkeypatch.setattr(search, "make_train_function", lambda force: traced.append(force))
    fixed, trained = "The architecture is fixed (warm-up).", "The architecture is trained from now on."
    for first, expected, lines in (
        (0, [False, False, True, True], [f"Epoch 1: {fixed}", f"Epoch 3: {trained}"]),
        (1, [False, True], [f"Epoch 2: {fixed}", f"Epoch 3: {trained}"]),
        (2, [True, True], []),
    ):
        search.searching, callback = True, WarmUp(2)
        callback.set_model(search)
        caplog.clear()
        traced.clear()
        states = []
        for epoch in range(first, first + len(expected)):
            callback.on_epoch_begin(epoch)
            states.append(search.searching)
        assert states == expected
        assert caplog.messages == lines
        assert traced == [True] * len(lines)


def test_both_phases_share_one_trace_of_the_weights_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """And both descend: the weights move in either phase."""
    traced = []
    update = RACLSearch.update_weights

    def traced_update(*given: Any) -> None:
        traced.append(True)
        update(*given)

    monkeypatch.setattr(RACLSearch, "update_weights", traced_update)
    search = RACLSearch(Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1)), constraint=ConfidenceConstraint())
    search.compile()
    half = tf.zeros([2, 8, 8, 1]), tf.constant([0, 1])
    moved: list[np.ndarray] = []
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: moved.append(np.copy(search.supernet.stem.kernel.numpy()))
    )
    before = np.copy(search.supernet.stem.kernel.numpy())
    search.fit(tf.data.Dataset.from_tensors((half, half)), epochs=3, verbose=0, callbacks=[WarmUp(1), seen])
    assert traced == [True]
    assert int(search.architecture_optimizer.iterations.numpy()) == 2
    for earlier, later in itertools.pairwise([before, *moved]):
        assert np.abs(later - earlier).max() > 1e-6


def test_tables_begun_in_the_warm_up_have_the_columns_of_the_search(
    search: RACLSearch, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras's own table too, NaN in the warm-up; in the run's table such cells stay empty."""
    monkeypatch.setattr(search, "make_train_function", lambda force: None)
    keras_table, table = keras.callbacks.CSVLogger(str(tmp_path / "keras.csv")), HistoryFile(tmp_path / "history.csv")
    used = keras.callbacks.CallbackList([WarmUp(1), keras_table, table], model=search)
    used.on_train_begin()
    on_architecture = ("architecture_loss", "architecture_accuracy", "constraint", "probability", "theta")
    for epoch, logs in enumerate(({"loss": 2.0}, {"loss": 1.0} | dict.fromkeys(on_architecture, 0.5))):
        used.on_epoch_begin(epoch)
        used.on_epoch_end(epoch, logs)
    used.on_train_end()
    warm, trained = read_table(tmp_path / "keras.csv")
    assert {warm[name] for name in on_architecture} == {"nan"}
    assert {trained[name] for name in on_architecture} == {"0.5"}
    warm, trained = read_table(tmp_path / "history.csv")
    assert {warm[name] for name in on_architecture} == {""}


def test_step_file(tmp_path: pathlib.Path) -> None:
    """One row a step, empty where there is no constraint yet; what comes after the model's step is repeated."""
    path, model = tmp_path / "steps.csv", SimpleNamespace(steps=tf.constant(0))
    warm, full = (
        {"loss": 1.0, "mu_F": -2.0, "sigma_F": 0.5},
        {"mu_F": -3.0, "constraint": 6.0, "theta": tf.constant(0.5)},
    )

    def begin(epoch: int, *steps: dict) -> StepFile:
        callback = StepFile(path)
        callback.set_model(model)
        callback.on_epoch_begin(epoch)
        for batch, logs in enumerate(steps):
            callback.on_train_batch_end(batch, logs)
        return callback

    begin(0, warm, full).on_epoch_end(0)
    model.steps = tf.constant(2)
    begin(1, full, full).on_epoch_end(1)
    model.steps = tf.constant(3)
    begin(1, warm).flush()  # the second step of the second epoch again
    model.steps = tf.constant(4)
    begin(2, full)
    rows = read_table(path)
    assert list(rows[0]) == ["epoch", "step", "mu_F", "sigma_F", "constraint", "probability", "theta"]
    assert [(row["epoch"], row["step"], row["mu_F"]) for row in rows] == [
        ("1", "1", "-2"),
        ("1", "2", "-3"),
        ("2", "1", "-3"),
        ("2", "2", "-2"),
    ]
    assert (rows[0]["theta"], rows[1]["theta"], rows[1]["sigma_F"]) == ("", "0.5", "")


def test_architecture_log(search: RACLSearch, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "architecture.jsonl"
    callback = ArchitectureLog(path)
    callback.set_model(search)
    callback.on_train_begin()
    logs = {"loss": 1.0}
    for epoch in (0, 1, 2, 1):
        callback.on_epoch_end(epoch, logs)
    statistics = architecture_statistics(search.architecture) | constraint_statistics(search) | {"choices_kept": 1.0}
    assert logs == {"loss": 1.0, **statistics}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    for name, values in zip(MU, search.architecture.mu, strict=True):
        np.testing.assert_allclose(lines[-1].pop(name), values.numpy(), atol=1e-5)
    for name, (_, variance) in zip(("alpha", "beta"), search.architecture.parameters(), strict=True):
        np.testing.assert_allclose(np.square(lines[-1].pop(f"sigma_{name}_entries")), variance, atol=1e-5)
    assert lines[-1] == {"epoch": 2, "genotype": str(search.genotype()), **statistics}
