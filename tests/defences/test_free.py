"""Free adversarial training: replays of a batch by hand, on replicas, in parts, and what they cost."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import GradientAttack, image_seeds, pgd
from racl_tf.defences import FreeAdversarialTraining, free
from racl_tf.errors import UsageError
from racl_tf.seeding import fold
from racl_tf.training.adversarial_trainer import AdversarialTrainer

RATE, EPS, SEED, REPLAYS = 0.1, 0.2, 4, 3


def network() -> keras.Model:
    start = [keras.initializers.HeNormal(seed=number) for number in range(2)]
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", kernel_initializer=start[0]),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_initializer=start[1]),
        ]
    )


def trainer(defence: FreeAdversarialTraining, **options) -> AdversarialTrainer:
    made = AdversarialTrainer(network(), defence, seed=SEED)
    made.compile(keras.optimizers.SGD(RATE), weight_decay=0.0, clip_norm=None, **options)
    return made


@pytest.fixture
def batch() -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    return tf.constant(rng.random([8, 6, 6, 1], np.float32)), tf.constant(rng.integers(0, 3, 8), tf.int32)


def direction(gradient: np.ndarray, norm: str) -> np.ndarray:
    if norm == "linf":
        return np.sign(gradient)
    return gradient / np.sqrt((gradient**2).sum((1, 2, 3), keepdims=True))


def projected(delta: np.ndarray, norm: str) -> np.ndarray:
    if norm == "linf":
        return np.clip(delta, -EPS, EPS)
    return delta * np.minimum(1, EPS / np.sqrt((delta**2).sum((1, 2, 3), keepdims=True)))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_replayed(norm: str, batch: tuple[tf.Tensor, tf.Tensor]) -> None:
    """Two batches: a uniform start for each, then every replay moves the weights and the images by one gradient."""
    defence, truth = free(eps=EPS, steps=REPLAYS, norm=norm), network()
    images, labels = batch[0].numpy(), batch[1]
    ours = trainer(defence)
    ours.fit(*batch, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for step in range(2):
        seeds = image_seeds(fold(SEED, "train/attack", step, 0), tf.range(8))
        moved = defence.attack.first(batch[0], seeds).numpy()
        assert np.abs(moved - images).max() > 0.1 * EPS
        for _ in range(REPLAYS):
            values = [variable.value for variable in truth.trainable_variables]
            with tf.GradientTape() as tape:
                tape.watch(shown := tf.constant(moved))
                logits = truth(shown, training=True)
                loss = -tf.reduce_mean(tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=1))
            *gradients, of_images = tape.gradient(loss, [*values, shown])
            for variable, gradient in zip(truth.trainable_variables, gradients, strict=True):
                variable.assign_sub(RATE * gradient)
            delta = projected(moved - images + EPS * direction(of_images.numpy(), norm), norm)
            moved = np.clip(images + delta, 0, 1)
    for variable, value in zip(ours.network.variables, truth.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-4, atol=1e-5, err_msg=variable.path)
    assert int(ours.optimizer.iterations) == 2 * REPLAYS
    assert int(ours.steps) == 2


def test_two_replicas_and_parts_of_a_batch_equal_one_device(
    two_replicas: tf.distribute.Strategy, batch: tuple[tf.Tensor, tf.Tensor]
) -> None:
    """Noise comes from each image's own place, so that it is the same wherever the image lies."""
    defence = free(eps=EPS, steps=REPLAYS)
    models = [trainer(defence), trainer(defence, accumulation_steps=3)]
    with two_replicas.scope():
        models.append(trainer(defence))
    data = tf.data.Dataset.from_tensors(batch).repeat(2)
    for model in models:
        model.fit(data, verbose=0)
    for model in models[1:]:
        for variable, value in zip(model.network.variables, models[0].network.variables, strict=True):
            np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-4, atol=1e-5, err_msg=variable.path)


def test_one_replay_is_plain_training_on_noisy_images(batch: tuple[tf.Tensor, tf.Tensor]) -> None:
    ours, plain = trainer(free(eps=EPS, steps=1)), AdversarialTrainer(network(), seed=SEED)
    plain.compile(keras.optimizers.SGD(RATE), weight_decay=0.0, clip_norm=None)
    images, labels = batch
    seeds = image_seeds(fold(SEED, "train/attack", 0, 0), tf.range(8))
    plain.train_step((ours.defence.start(images, seeds), labels))
    ours.train_step(batch)
    for variable, value in zip(ours.network.variables, plain.network.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-5, atol=1e-6)


def test_a_network_is_traced_once_for_all_replays(batch: tuple[tf.Tensor, tf.Tensor]) -> None:
    """Calls in training mode: to build the model, and to trace one descent, not one for each of ten."""
    ours = trainer(free(eps=EPS, steps=10))
    call, calls = ours.network.call, []

    def counted(*args: Any, **kwargs: Any) -> tf.Tensor:
        calls.append(kwargs.get("training"))
        return call(*args, **kwargs)

    ours.network.call = counted
    ours.fit(*batch, batch_size=8, verbose=0)
    assert calls.count(True) <= 2


@pytest.mark.parametrize(
    "attack",
    [pgd(EPS, EPS, 3, loss="margin"), pgd(EPS, EPS, 3, restarts=2), GradientAttack(EPS, EPS, 3, decay=1.0)],
    ids=["loss", "restarts", "momentum"],
)
def test_attack_that_cannot_be_replayed(attack: GradientAttack) -> None:
    with pytest.raises(UsageError, match=r"give an attack such as pgd\(8 / 255, 8 / 255, 8\)"):
        FreeAdversarialTraining(attack)
