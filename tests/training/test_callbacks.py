"""What a run writes, when it stops, and that going on continues its files and its state."""

import math
import pathlib

import keras
import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.files import read_table
from racl_tf.networks.supernet import Supernet
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.callbacks import (
    DropPathRamp,
    HistoryFile,
    Progress,
    StopOnDivergence,
    best_epoch,
    format_time,
)


def make_search(seed: int = 0) -> RACLSearch:
    supernet = Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1), seed=seed)
    search = RACLSearch(supernet, LogNormalArchitecture(sigma=0.2), ConfidenceConstraint(), seed=seed)
    search.compile(run_eagerly=True)
    return search


def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((count, 8, 8, 1), np.float32), rng.integers(0, 10, count).astype(np.int32)


def make_trainer() -> AdversarialTrainer:
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    trainer = AdversarialTrainer(network)
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return trainer


def play(callback: keras.callbacks.Callback, epochs: list[dict], *, first: int = 0) -> None:
    """Calls a callback as `fit` does, with given logs of every epoch."""
    for epoch, logs in enumerate(epochs, start=first):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, dict(logs))


def test_history_takes_columns_that_begin_later(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "history.csv"
    play(HistoryFile(path), [{"loss": 2.0}, {"loss": 1.5, "constraint": -0.25}])
    header, first, second = path.read_text().splitlines()
    assert header == "epoch,seconds,loss,constraint"
    assert first.split(",")[0::2] == ["1", "2"]
    assert first.endswith(",")
    assert second.endswith(",1.5,-0.25")
    assert read_table(path)[0]["constraint"] == ""
    assert read_table(tmp_path / "absent.csv") == []


def test_history_of_a_resumed_run_replaces_what_it_repeats(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "history.csv"
    play(HistoryFile(path), [{"loss": 3.0}, {"loss": 2.0}, {"loss": 99.0}])
    play(HistoryFile(path), [{"loss": 1.0}, {"loss": 0.5}], first=2)
    assert [(row["epoch"], row["loss"]) for row in read_table(path)] == [
        ("1", "3"),
        ("2", "2"),
        ("3", "1"),
        ("4", "0.5"),
    ]


def test_divergence_stops_at_the_epochs_first_weights() -> None:
    """The learning rate breaks in the second epoch: the weights of the first one's end are kept."""
    trainer = make_trainer()
    kept: list[np.ndarray] = []

    def on_epoch_begin(epoch: int, logs: dict) -> None:
        kept[:] = [variable.numpy().copy() for variable in trainer.variables]
        trainer.optimizer.learning_rate = math.nan if epoch == 1 else 0.1

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin), StopOnDivergence()]
    images, labels = images_and_labels(32)
    with pytest.raises(UsageError, match=r"loss not finite at step 2 of epoch 2.*Lower the learning rate"):
        trainer.fit(images, labels, batch_size=8, epochs=3, shuffle=False, callbacks=callbacks, verbose=0)
    for variable, value in zip(trainer.variables, kept, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert np.isfinite(trainer.evaluate(images, labels, verbose=0)).all()


def test_finite_training_is_left_alone() -> None:
    with_callback, without = make_trainer(), make_trainer()
    images, labels = images_and_labels(16)
    for trainer, callbacks in ((with_callback, [StopOnDivergence()]), (without, [])):
        trainer.fit(images, labels, batch_size=8, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
    for ours, truth in zip(with_callback.variables, without.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), truth.numpy())


def test_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line an epoch; no bar where there is no terminal."""
    progress = Progress(4, 2, "search")
    progress.set_params({"steps": 2})
    progress.on_train_begin()
    progress.on_epoch_begin(2)
    assert (progress.bar.total, progress.bar.n, progress.bar.disable) == (8, 4, True)
    progress.on_train_batch_end(0)
    monkeypatch.setattr(progress, "start", 100.0)
    monkeypatch.setattr("racl_tf.training.callbacks.time.monotonic", lambda: 190.0)
    progress.on_epoch_end(2, {"loss": 0.123456, "val_accuracy": 0.5, "mu_beta_common": 1.0})
    progress.on_train_end()
    line, *_ = capsys.readouterr().out.splitlines()
    assert line == "search epoch 3/4  1 min 30 s, 1 min 30 s left  loss 0.1235  val_accuracy 0.5"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_format_time(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(("chance", "best"), [(0.0, 2), (0.3, 3), (0.2, 2)])
def test_the_latest_of_equals_is_the_best_where_all_are_at_chance(chance: float, best: int) -> None:
    history = [
        {"epoch": str(epoch), "val": value} for epoch, value in ((1, "0.1"), (2, "0.25"), (3, "0.25"), (4, "0.2"))
    ]
    assert best_epoch(history, "val", chance) == (best, 0.25)


def test_a_ramp_sets_every_share_to_that_of_the_finished_epochs() -> None:
    shares = [keras.Variable(1.0), keras.Variable(1.0)]
    callback, seen = DropPathRamp(shares, epochs=4), []
    for epoch in range(4):
        callback.on_epoch_begin(epoch)
        seen.append([float(share) for share in shares])
    assert seen == [[0, 0], [0.25, 0.25], [0.5, 0.5], [0.75, 0.75]]
