"""How steps are executed: in mixed precision, where all but the networks' images stays float32, and by XLA."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import pgd
from racl_tf.data import batches, load_dataset, search_batches
from racl_tf.lipschitz.surrogate import network_constant
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.supernet import Supernet
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.racl_search import RACLSearch
from racl_tf.training.adversarial_trainer import AdversarialTrainer

SIZES: dict[str, Any] = {"channels": 8, "cells": 1, "input_shape": (8, 8, 1), "mean": 0.3, "std": 0.4, "seed": 1}


@pytest.fixture(autouse=True)
def policy() -> Iterator[None]:
    """Restores the global policy that a test sets."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def make_search() -> RACLSearch:
    return RACLSearch(Supernet(10, partial=2, **SIZES), constraint=ConfidenceConstraint())


def make_trainer() -> AdversarialTrainer:
    network = GenotypeNetwork("racl", 10, auxiliary=True, drop_path=0.1, **SIZES)
    return AdversarialTrainer(network, pgd(0.1, 0.05, 2))


every_model = pytest.mark.parametrize("make", [make_search, make_trainer], ids=["search", "adversarial_training"])


def fit(model: keras.Model) -> dict[str, float]:
    """Takes two steps and returns the logs of the last one."""
    data = load_dataset("digits", train_size=96).train
    if isinstance(model, RACLSearch):
        steps = search_batches(data.take(range(48)), data.take(range(48, 96)), 24, seed=0)
    else:
        steps = batches(data, 24, seed=0)
    model.compile()
    history = model.fit(steps.take(2), verbose=0).history
    return {name: values[-1] for name, values in history.items()}


@every_model
def test_a_step_in_mixed_precision_is_near_the_one_in_float32(make: Callable[[], keras.Model]) -> None:
    truth = fit(make())
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = make()
    logs = fit(model)
    network = model.supernet if isinstance(model, RACLSearch) else model.network
    assert network.cells[0].compute_dtype == "bfloat16"
    optimizers = [model.optimizer, getattr(model, "architecture_optimizer", model.optimizer)]
    variables = [*model.variables, *(variable for optimizer in optimizers for variable in optimizer.variables)]
    assert {variable.dtype for variable in variables} <= {"float32", "int32", "int64"}
    assert all(np.isfinite(variable.numpy()).all() for variable in variables)
    assert logs.keys() == truth.keys()
    for name in truth:
        if "accuracy" not in name:
            assert logs[name] == pytest.approx(truth[name], rel=0.03), name


def test_search_computes_its_architecture_and_constraint_in_float32() -> None:
    """What does not go through the network is, to the bit, what it is without mixed precision."""
    outcomes = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        search = make_search()
        log_norms = search.norms.measure()
        constant = network_constant(*search.architecture.parameters(), log_norms, search.cell_types)
        assert search.constraint is not None
        search.constraint.set_target(constant, search.reachable(log_norms))
        state = search.constraint.evaluate(constant)
        draws = search.architecture(tf.constant([0, 1]))
        outcomes.append([*constant, *state, search.constraint.penalty(state.violation), *draws])
    for mixed, plain in zip(outcomes[1], outcomes[0], strict=True):
        assert mixed.dtype == tf.float32
        np.testing.assert_array_equal(mixed, plain)


@every_model
@pytest.mark.parametrize(("made_in", "loaded_in"), [("mixed_bfloat16", "float32"), ("float32", "mixed_bfloat16")])
def test_a_reloaded_network_computes_in_the_precision_it_was_made_in(
    make: Callable[[], keras.Model], made_in: str, loaded_in: str, tmp_path: Path
) -> None:
    keras.config.set_dtype_policy(made_in)
    model = make()
    model = model if isinstance(model, RACLSearch) else model.network
    model.save(tmp_path / "model.keras")
    keras.config.set_dtype_policy(loaded_in)
    again = keras.saving.load_model(tmp_path / "model.keras")
    images = tf.random.stateless_uniform([4, 8, 8, 1], [0, 0])
    np.testing.assert_array_equal(again(images), model(images))


@every_model
@pytest.mark.parametrize("jit_compile", [False, True])
def test_jit_compile_reaches_keras_and_is_kept(make: Callable[[], keras.Model], jit_compile: bool) -> None:
    model = make()
    model.compile(**({"jit_compile": True} if jit_compile else {}))  # off unless asked for
    again = make()
    again.compile_from_config(model.get_compile_config())
    assert model.jit_compile == again.jit_compile == jit_compile
