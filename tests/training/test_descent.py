"""Clipping, coupled decay and anchors in their order, against SGD with momentum written out in NumPy."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.training.descent import descend

RATE, MOMENTUM = 0.1, 0.9
SHAPES = [(3, 2), (4,)]


def setup(steps: int) -> tuple[list[keras.Variable], list[list[np.ndarray]]]:
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
    return variables, [[rng.normal(size=shape).astype("float32") for shape in SHAPES] for _ in range(steps)]


def replay(weights, all_gradients, *, clip_norm, weight_decay, anchors):
    """v <- 0.9 v - rate (clip(g) + decay (w - anchor)), w <- w + v."""
    velocities = [np.zeros_like(weight) for weight in weights]
    for gradients in all_gradients:
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        factor = 1 if clip_norm is None else min(1, clip_norm / norm)
        for weight, velocity, gradient, anchor in zip(weights, velocities, gradients, anchors, strict=True):
            total = factor * gradient + (0 if anchor is None else weight_decay * (weight - anchor))
            velocity[:] = MOMENTUM * velocity - RATE * total
            weight += velocity
    return weights


@pytest.mark.parametrize("anchors", [None, [np.full((3, 2), 0.7), None]], ids=["to_zero", "anchored"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("clip_norm", [None, 2.5, 1e3])
def test_replayed(clip_norm: float | None, weight_decay: float, anchors: list | None) -> None:
    """Norms lie on both sides of 2.5; decay comes after clipping, so it is never clipped."""
    variables, gradients = setup(5)
    norms = [np.sqrt(sum((gradient**2).sum() for gradient in step)) for step in gradients]
    assert min(norms) < 2.5 < max(norms)
    expected = replay(
        [variable.numpy().astype(float) for variable in variables],
        gradients,
        clip_norm=clip_norm,
        weight_decay=weight_decay,
        anchors=[0.0, 0.0] if anchors is None else anchors,
    )
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    optimizer.build(variables)
    for step in gradients:
        ready = [tf.constant(gradient) for gradient in step]
        descend(optimizer, ready, variables, clip_norm=clip_norm, weight_decay=weight_decay, anchors=anchors)
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-6)


def test_replicas_clip_the_mean_of_their_gradients(two_replicas: tf.distribute.Strategy) -> None:
    """Gradients g and 3g on two replicas step as 2g on one device, with decay and clipping counted once."""
    single, (gradients,) = setup(1)
    options: dict[str, Any] = {"clip_norm": 1.0, "weight_decay": 0.3}
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(single)
    descend(optimizer, [tf.constant(2 * gradient) for gradient in gradients], single, **options)

    with two_replicas.scope():
        mirrored, _ = setup(1)
        optimizer = keras.optimizers.SGD(RATE)
        optimizer.build(mirrored)

    @tf.function
    def step() -> None:
        def on_replica() -> None:
            factor = 1.0 + 2.0 * tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
            descend(optimizer, [factor * gradient for gradient in gradients], mirrored, **options)

        two_replicas.run(on_replica)

    step()
    for ours, truth in zip(mirrored, single, strict=True):
        np.testing.assert_allclose(ours.numpy(), truth.numpy(), rtol=1e-5, atol=1e-6)
