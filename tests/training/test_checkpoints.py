"""Whatever ends a training, it goes on from the last whole state as if nothing had happened."""

import json
import logging
import os
import pathlib
import shutil
import signal
from collections.abc import Callable
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.files import read_table
from racl_tf.interruption import INTERRUPTION
from racl_tf.training import checkpoints as module
from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.callbacks import HistoryFile
from racl_tf.training.checkpoints import Checkpoints, Position

EPOCHS, STEPS = 3, 4
Whole = tuple[AdversarialTrainer, pathlib.Path]


def make_trainer(units: int = 10) -> AdversarialTrainer:
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(units)])
    trainer = AdversarialTrainer(network)
    trainer.compile(keras.optimizers.Adam(0.01))
    return trainer


def stream(first_epoch: int, first_step: int) -> tf.data.Dataset:
    """Other images in each step, as a function of the step alone."""

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([step, 0])
        labels = tf.random.stateless_uniform([8], seed, maxval=10, dtype=tf.int32)
        return tf.random.stateless_uniform([8, 8, 8, 1], seed), labels

    return tf.data.Dataset.counter(first_epoch * STEPS + first_step, dtype=tf.int64).map(batch)


class At(keras.callbacks.Callback):
    """Does something once a number of steps has been made in all."""

    def __init__(self, steps: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.steps = steps
        self.act = act

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if int(self.model.steps) == self.steps:
            self.act()


def fit(folder: pathlib.Path, *callbacks: keras.callbacks.Callback, minutes: float = 5.0) -> AdversarialTrainer:
    trainer, history = make_trainer(), HistoryFile(folder / "history.csv")
    checkpoints = Checkpoints(trainer, folder / "checkpoints", minutes=minutes, records=[history])
    checkpoints.restore()
    checkpoints.fit(stream, epochs=EPOCHS, steps=STEPS, callbacks=[history, *callbacks], validation_data=validation())
    return trainer


def validation() -> tf.data.Dataset:
    return stream(100, 0).take(2)


def losses(folder: pathlib.Path) -> list[tuple[str, ...]]:
    return [(row["epoch"], row["loss"], row["val_loss"]) for row in read_table(folder / "history.csv")]


def states(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def crash() -> None:
    raise RuntimeError("power cut")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return fit(folder), folder


@pytest.fixture
def crashed(tmp_path: pathlib.Path) -> pathlib.Path:
    """Saved after each step, ended after the seventh of twelve, before that was saved."""
    with pytest.raises(RuntimeError):
        fit(tmp_path, At(7, crash), minutes=0)
    return tmp_path


def assert_same(trainer: AdversarialTrainer, folder: pathlib.Path, whole: Whole) -> None:
    expected, other = whole
    variables = zip(module_variables(trainer), module_variables(expected), strict=True)
    for variable, value in variables:
        np.testing.assert_array_equal(variable.numpy(), value.numpy(), err_msg=variable.path)
    assert losses(folder) == losses(other)
    assert states(folder)[-1] == "epoch-00003-step-0000000"


def module_variables(trainer: AdversarialTrainer) -> list:
    return [*trainer.variables, *trainer.optimizer.variables]


def test_every_variable_of_model_and_optimizers_comes_back(tmp_path: pathlib.Path) -> None:
    saved, fresh = make_trainer(), make_trainer()
    rng = np.random.default_rng(0)
    for variable in module_variables(saved):
        variable.assign(rng.integers(1, 100, variable.shape))
    assert Checkpoints(fresh, tmp_path / "empty").restore() == Position(0, 0)
    Checkpoints(saved, tmp_path).on_epoch_end(2)
    assert Checkpoints(fresh, tmp_path).restore() == Position(3, 0)
    for variable, value in zip(module_variables(fresh), module_variables(saved), strict=True):
        np.testing.assert_array_equal(variable.numpy(), value.numpy(), err_msg=variable.path)


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 11, 12])
def test_it_goes_on_after_the_last_step_that_was_saved(steps: int, tmp_path: pathlib.Path, whole: Whole) -> None:
    """An epoch's last step is saved with its end; its means and the table are those of one that was not stopped."""
    with pytest.raises(RuntimeError):
        fit(tmp_path, At(steps, crash), minutes=0)
    made: list[int] = []
    resumed = fit(tmp_path, keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: made.append(batch)))
    saved = (steps - 1) // STEPS * STEPS + min((steps - 1) % STEPS, STEPS - 1)
    assert len(made) == EPOCHS * STEPS - saved
    assert_same(resumed, tmp_path, whole)


def test_three_states_are_kept_one_each_few_minutes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, crashed: pathlib.Path
) -> None:
    assert states(crashed) == [f"epoch-00001-step-000000{step}" for step in (0, 1, 2)]
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(RuntimeError):
        fit(tmp_path / "slow", At(4, crash), minutes=2)
    assert states(tmp_path / "slow") == ["epoch-00000-step-0000002"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_saves_after_the_step_and_ends(name: str, tmp_path: pathlib.Path, whole: Whole) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with INTERRUPTION.handling() as interruption:
            with pytest.raises(KeyboardInterrupt):
                fit(tmp_path, At(6, lambda: os.kill(os.getpid(), number)))
            assert interruption.status == (130 if name == "SIGINT" else 143)
    finally:
        signal.signal(number, before)
    assert states(tmp_path) == ["epoch-00001-step-0000000", "epoch-00001-step-0000002"]
    assert_same(fit(tmp_path), tmp_path, whole)


def damage(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["variables.npz", "state.json", "history.csv"])
def test_a_damaged_state_is_passed_over_in_a_line(
    file: str,
    crashed: pathlib.Path,
    whole: Whole,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(crashed / "checkpoints/epoch-00001-step-0000002" / file)
    with caplog.at_level(logging.WARNING):
        resumed = fit(crashed)
    first, second = caplog.messages
    assert "epoch-00001-step-0000002' (" in first
    assert second == "It goes on from 'epoch-00001-step-0000001' and repeats what came after."
    assert_same(resumed, crashed, whole)


def test_another_models_state_is_passed_over_and_left(crashed: pathlib.Path, whole: Whole) -> None:
    Checkpoints(make_trainer(7), crashed / "checkpoints").on_epoch_end(8)
    assert_same_but_foreign = fit(crashed)
    assert "epoch-00009-step-0000000" in states(crashed)
    shutil.rmtree(crashed / "checkpoints/epoch-00009-step-0000000")
    assert_same(assert_same_but_foreign, crashed, whole)


def test_what_was_recorded_is_mended_from_the_state(crashed: pathlib.Path, whole: Whole) -> None:
    path = crashed / "history.csv"
    path.write_text(path.read_text()[:-9])
    assert_same(fit(crashed), crashed, whole)


def test_it_is_refused_where_nothing_is_whole(crashed: pathlib.Path) -> None:
    for path in (crashed / "checkpoints").glob("*/variables.npz"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"No state of this training is whole: .*step-0000002' \(variables.npz is not"):
        fit(crashed)


def test_it_is_refused_where_states_are_gone(tmp_path: pathlib.Path) -> None:
    """One epoch may have been recorded and not been saved yet; two may not."""
    fit(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    history = (tmp_path / "history.csv").read_text()
    with pytest.raises(UsageError, match="holds no state although 3 epochs have been recorded"):
        fit(tmp_path)
    assert (tmp_path / "history.csv").read_text() == history
    (tmp_path / "history.csv").write_text("".join(history.splitlines(keepends=True)[:2]))
    fit(tmp_path)
    assert [epoch for epoch, *_ in losses(tmp_path)] == ["1", "2", "3"]


def test_nothing_half_written_is_left_and_the_same_command_goes_on(
    crashed: pathlib.Path, monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            fit(crashed)
    assert states(crashed) == [f"epoch-00001-step-000000{step}" for step in (0, 1, 2)]
    (crashed / "checkpoints/.unfinished-1").mkdir()  # of a process that was killed
    assert_same(fit(crashed), crashed, whole)


def test_folders_of_older_versions_go_on(tmp_path: pathlib.Path, whole: Whole) -> None:
    """These kept one TensorFlow checkpoint, of the last epoch; the file that names it is not needed."""
    trainer, history = make_trainer(), HistoryFile(tmp_path / "history.csv")
    for model, epochs, used in ((trainer, 2, [history]), (epoch_one := make_trainer(), 1, [])):
        model.fit(
            stream(0, 0),
            epochs=epochs,
            steps_per_epoch=STEPS,
            callbacks=used,
            validation_data=validation(),
            verbose=0,
        )
    variables = [variable.value for variable in trainer.variables]
    old = tf.train.Checkpoint(model=trainer, variables=variables, finished_epochs=tf.Variable(1, dtype=tf.int64))
    for variable, value in zip(module_variables(trainer), module_variables(epoch_one), strict=True):
        variable.assign(value)
    tf.train.CheckpointManager(old, str(tmp_path / "checkpoints"), max_to_keep=1).save(1)
    assert_same(fit(tmp_path), tmp_path, whole)
    assert "ckpt-1.index" in states(tmp_path), "kept until there are three of today's"


def test_the_files_of_a_state_say_what_they_are(crashed: pathlib.Path) -> None:
    state = crashed / "checkpoints/epoch-00001-step-0000002"
    content = json.loads((state / "state.json").read_text())
    assert (content["epoch"], content["step"]) == (1, 2)
    assert sorted(content["files"]) == ["history.csv", "variables.npz"]
    assert len(content["means"]) == 8
