"""Defences by name: each trains, each is saved with its trainer, and errors say what is known."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import pgd
from racl_tf.data import load_dataset
from racl_tf.defences import DEFENCES, Defence, make_defence
from racl_tf.errors import UsageError
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.networks.ensemble import Ensemble
from racl_tf.networks.registry import make_network
from racl_tf.training.adversarial_trainer import AdversarialTrainer

THREAT: dict[str, Any] = {"eps": 0.05, "step_size": 0.02, "steps": 2}
every_defence = pytest.mark.parametrize("name", DEFENCES)


def small_network(seed: int) -> keras.Model:
    start = [keras.initializers.HeNormal(seed=10 * seed + number) for number in range(2)]
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu", kernel_initializer=start[0]),
            BatchNorm(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_initializer=start[1]),
        ]
    )


def make_trainer(defence: Defence, name: str) -> AdversarialTrainer:
    if name == "l2nnn":
        network = make_network(name, channels=4, input_shape=(8, 8, 1))
    elif defence.members == 1:
        network = small_network(0)
    else:
        network = Ensemble([small_network(seed) for seed in range(defence.members)])
    trainer = AdversarialTrainer(network, defence)
    trainer.compile(keras.optimizers.Adam(0.01), weight_decay=0.0)
    return trainer


@every_defence
def test_every_defence_trains_and_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    data = load_dataset("digits", train_size=32).train
    batch = data.images(), data.y
    defence = make_defence(name, **THREAT)
    trainer = make_trainer(defence, name)
    before = [variable.numpy() for variable in trainer.network.trainable_variables]
    seeds = tf.zeros([32, 2], tf.int32)
    losses = [float(defence.objective(trainer.network, *batch, seeds)[0])]
    trainer.fit(*batch, batch_size=32, epochs=6, verbose=0, shuffle=False)
    losses.append(float(defence.objective(trainer.network, *batch, seeds)[0]))
    assert losses[1] < losses[0]
    for variable, value in zip(trainer.network.trainable_variables, before, strict=True):
        assert np.abs(variable.numpy() - value).max() > 0, variable.path
    trainer.save(tmp_path / "trainer.keras")
    again = keras.models.load_model(tmp_path / "trainer.keras")
    assert again.defence == defence
    assert again.validation_attack == trainer.validation_attack
    for model in (trainer, again):
        model.train_step(batch)
    for variable, value in zip(again.network.variables, trainer.network.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-4, atol=1e-6, err_msg=variable.path)


def test_names_threat_and_options_arrive() -> None:
    assert list(DEFENCES) == ["none", "pgd", "fgsm_rs", "free", "trades", "adp", "l2nnn"]
    attack = pgd(0.05, 0.02, 2, norm="l2")
    made: Callable[..., Any] = partial(make_defence, **THREAT)
    assert made("none").attack is None
    assert made("pgd", norm="l2").attack == attack
    assert made("fgsm_rs", norm="l2").attack == replace(attack, step_size=0.0625, steps=1)
    assert made("free", norm="l2").attack == replace(attack, step_size=0.05)
    found = made("trades", norm="l2", beta=1.0)
    assert (found.attack, found.beta) == (attack, 1.0)
    assert made("trades").beta == 6
    found = made("adp", alpha=1.0)
    assert (found.alpha, found.beta, found.members) == (1.0, 0.5, 3)


@every_defence
def test_defences_are_values(name: str) -> None:
    defence = make_defence(name, **THREAT)
    assert defence == make_defence(name, **THREAT)
    assert type(defence).from_config(defence.get_config()) == defence
    with pytest.raises(FrozenInstanceError):
        defence.beta = 3.0  # type: ignore[attr-defined]


def test_errors_say_what_is_known() -> None:
    known = r"Unknown defence 'trade'\. Did you mean 'trades'\?.*none, pgd, fgsm_rs, free"
    with pytest.raises(UsageError, match=known):
        make_defence("trade", **THREAT)
    with pytest.raises(UsageError, match=r"Unknown option of trades 'betta'\. Did you mean 'beta'\?"):
        make_defence("trades", **THREAT, betta=1.0)
    with pytest.raises(UsageError, match=r"Unknown option of none 'beta'\. Known: auxiliary_weight\."):
        make_defence("none", **THREAT, beta=1.0)
    with pytest.raises(UsageError, match="eps=2"):
        make_defence("pgd", eps=2, step_size=0.1, steps=3)
