"""The search as a Keras model: warm-up, validation, and what graphs, saving, resuming and replicas must not change."""

import functools
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import pgd
from racl_tf.data import ImageSet, load_dataset, search_batches
from racl_tf.errors import UsageError
from racl_tf.networks.supernet import Supernet
from racl_tf.search.callbacks import WarmUp
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.training.checkpoints import Checkpoints

REDUCTION, QUANTILE = 3.0, 1.2815516


def make_search(*, eager: bool = True, update: str = "printed", **options) -> RACLSearch:
    """Returns a compiled search of a supernet of one reduction cell, which has every kind of layer."""
    search = RACLSearch(
        Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1), partial=2, mean=0.3, std=0.4, seed=1),
        LogNormalArchitecture(sigma=0.2),
        ConfidenceConstraint(update=update, rho=0.02, reduction=REDUCTION),
        seed=5,
        **options,
    )
    search.compile(architecture_weight_decay=0.1, clip_norm=0.5, run_eagerly=eager)
    return search


@pytest.fixture(scope="module")
def halves() -> tuple[ImageSet, ImageSet]:
    data = load_dataset("digits", train_size=96).train
    return data.take(range(0, 96, 2)), data.take(range(1, 96, 2))


@pytest.fixture(scope="module")
def steps(halves: tuple[ImageSet, ImageSet]) -> list:
    """((x_w, y_w), (x_a, y_a)) of three steps."""
    return list(search_batches(*halves, 12, seed=0).take(3))


def as_dataset(steps: list) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda *parts: tf.stack(parts), *steps))


def run(search: RACLSearch, steps: list) -> list[dict[str, float]]:
    """Takes steps and returns the logs of each."""
    return [{name: float(value) for name, value in search.train_step(step).items()} for step in steps]


def values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [variable.numpy().copy() for variable in variables]


def state(search: RACLSearch) -> list[keras.Variable]:
    """Everything a step changes."""
    return [*search.variables, *search.optimizer.variables, *search.architecture_optimizer.variables]


def assert_equal_variables(ours: list[keras.Variable], truth: list, *, atol: float = 1e-6, rtol: float = 1e-5) -> None:
    for variable, value in zip(ours, truth, strict=True):
        value = value if isinstance(value, np.ndarray) else value.numpy()
        np.testing.assert_allclose(variable.numpy(), value, rtol, atol, err_msg=variable.path)


def test_fit_takes_the_same_steps(steps: list) -> None:
    """The compiled loop of Keras ends where single steps end, and logs the constraint as it last stood."""
    compiled, eager = make_search(eager=False), make_search()
    history = compiled.fit(as_dataset(steps), shuffle=False, verbose=0).history
    logs = run(eager, steps)[-1]
    assert_equal_variables(state(compiled), state(eager), atol=1e-5)
    assert history.keys() == logs.keys()
    for name, (value,) in history.items():
        assert value == pytest.approx(logs[name], rel=1e-4, abs=1e-6), name


def test_warm_up_trains_the_weights_alone(steps: list) -> None:
    search = make_search()
    search.searching = False
    assert search.constraint is not None
    architecture = [*search.architecture.variables, *search.architecture_optimizer.variables, search.constraint.theta]
    kept, weights = values(architecture), values(search.supernet.trainable_variables)
    warm, *_ = run(search, steps[:2])
    for old, new in zip(kept, values(architecture), strict=True):
        np.testing.assert_array_equal(new, old)
    assert all(
        (old != new).any() for old, new in zip(weights, values(search.supernet.trainable_variables), strict=True)
    )
    assert warm.keys() == {"loss", "accuracy", "mu_F", "sigma_F"}
    assert np.isnan(float(search.constraint.log_target))

    search.searching = True
    (first,) = run(search, steps[2:])
    level = first["mu_F"] + QUANTILE * first["sigma_F"] ** 2
    assert float(search.constraint.log_target) == pytest.approx(level - REDUCTION, abs=1e-5)
    assert first["constraint"] == pytest.approx(REDUCTION, abs=1e-5)


def test_validation_uses_the_medians(halves) -> None:
    search = make_search()
    rng = np.random.default_rng(0)
    for mu in search.architecture.mu:
        mu.assign_add(rng.normal(0, 0.5, mu.shape))
    images, labels = halves[0].images(), halves[0].y
    alpha, beta = (np.exp(mu) for mu in values(search.architecture.mu))
    logits = search.supernet(images, alpha, beta).numpy()
    logs = search.evaluate(images, labels, batch_size=20, verbose=0, return_dict=True)
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]
    assert logs["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert logs["accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean())
    np.testing.assert_allclose(search.predict(images, verbose=0), logits, atol=1e-5)


def test_keras_file_holds_the_whole_state(tmp_path, steps: list) -> None:
    """The loaded search goes on as the saved one does: optimizers, dual, target, vectors and step counter."""
    search = make_search(attack=pgd(0.1, 0.05, 1), updates="sequential", norms="operator")
    run(search, steps[:2])
    search.save(tmp_path / "search.keras")
    loaded = keras.models.load_model(tmp_path / "search.keras")
    loaded.run_eagerly = True
    assert_equal_variables(state(loaded), state(search), atol=0, rtol=0)
    assert run(loaded, steps[2:])[0]["theta"] == run(search, steps[2:])[0]["theta"]
    assert_equal_variables(state(loaded), state(search), atol=1e-7)
    assert loaded.get_config() == search.get_config()


@pytest.mark.slow
def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path: pathlib.Path, halves: tuple[ImageSet, ImageSet]) -> None:
    """From the state after the first step of the third epoch to the end, bit for bit, with the epoch's means."""

    class History(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.loss: dict[int, float] = {}

        def on_epoch_end(self, epoch: int, logs: dict) -> None:
            self.loss[epoch] = logs["loss"]

    class End(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            if int(self.model.steps) == 6:
                raise KeyboardInterrupt

    def fit(search: RACLSearch, folder: pathlib.Path, *others: keras.callbacks.Callback) -> dict[int, float]:
        checkpoints, history = Checkpoints(search, folder, minutes=0), History()
        checkpoints.restore()
        stream = functools.partial(search_batches, *halves, 24, seed=3)
        checkpoints.fit(stream, epochs=4, steps=2, callbacks=[WarmUp(1), history, *others])
        return history.loss

    whole = make_search(update="proximal")
    losses = fit(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(make_search(update="proximal"), tmp_path / "parts", End())
    assert Checkpoints(make_search(update="proximal"), tmp_path / "parts").restore() == (2, 1)
    resumed = make_search(update="proximal")
    assert fit(resumed, tmp_path / "parts") == {epoch: losses[epoch] for epoch in (2, 3)}
    assert int(resumed.steps) == 8
    assert_equal_variables(state(resumed), state(whole), atol=0, rtol=0)


@pytest.mark.slow
def test_two_replicas_equal_one_device(two_replicas: tf.distribute.Strategy, steps: list) -> None:
    """Of the same global batches: logs, weights, statistics, architecture, dual and optimizers."""
    with two_replicas.scope():
        mirrored = make_search(eager=False, update="proximal")
    history = mirrored.fit(as_dataset(steps), shuffle=False, verbose=0).history
    single = make_search(update="proximal")
    logs = run(single, steps)[-1]
    assert_equal_variables(state(mirrored), state(single), atol=1e-5)
    for name, (value,) in history.items():
        assert value == pytest.approx(logs[name], rel=1e-4, abs=1e-5), name
    for variable in mirrored.variables:
        for replica in two_replicas.experimental_local_results(variable.value):
            np.testing.assert_array_equal(replica, variable.value)


def test_unknown_updates_suggest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'sequential'"):
        make_search(updates="sequentially")
