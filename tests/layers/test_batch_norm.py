"""Batch normalisation: the definition, the statistics PyTorch keeps, the borrowed scale, and replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.layers.batch_norm import BatchNorm, StackedNorms

SHAPE = (6, 3, 4, 5)


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2, 3, SHAPE).astype("float32")


def normalised(x: np.ndarray) -> np.ndarray:
    x = x.astype("float64")
    return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)


def make(affine: bool = True) -> BatchNorm:
    layer = BatchNorm(affine)
    layer.build((None, *SHAPE[1:]))
    for offset, variable in enumerate(layer.trainable_variables):
        variable.assign(np.linspace(1, 2, SHAPE[-1]) - 3 * offset)
    return layer


def test_training_normalises_by_the_batch_then_scales_and_shifts() -> None:
    layer, x = make(), images()
    truth = normalised(x) * np.linspace(1, 2, 5) + np.linspace(-2, -1, 5)
    np.testing.assert_allclose(layer(x, training=True), truth, atol=1e-5)


def test_moving_statistics_follow_by_a_tenth_with_the_unbiased_variance() -> None:
    layer, mean, variance = make(), np.zeros(5), np.ones(5)
    for step in range(3):
        x = images(step)
        layer(x, training=True)
        mean = 0.9 * mean + 0.1 * x.mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)


def test_inference_uses_the_moving_statistics_and_leaves_them() -> None:
    layer, x = make(affine=False), images()
    mean, variance = np.arange(5.0), np.arange(1.0, 6.0)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    np.testing.assert_allclose(layer(x), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), mean)
    np.testing.assert_array_equal(layer.moving_variance.numpy(), variance)


def stacked_pass(moving: list[keras.Variable], parts: list[tf.Tensor], scale: tf.Tensor, training: bool) -> list:
    """Returns the first part normalised with a scale and the second without, in one pass."""
    norms = StackedNorms(moving, [5, 2], training=training)
    outputs = norms({1: parts[1], 0: parts[0]}, {0: scale})  # in any order
    norms.update()
    return [outputs[0], outputs[1]]


@pytest.mark.parametrize("training", [True, False])
def test_stacked_normalisations_multiply_by_a_given_scale_and_return_its_gradient(training: bool) -> None:
    x, projection, scale = images(), images(1), tf.linspace(-1.0, 3.0, 5)
    rng = np.random.default_rng(2)
    mean, variance = rng.normal(size=7).astype("float32"), rng.uniform(1, 2, 7).astype("float32")
    moving = [keras.Variable(value, trainable=False) for value in (mean, variance)]
    plain = [
        normalised(part) if training else (part - mean[mine]) / np.sqrt(variance[mine] + 1e-5)
        for part, mine in ((x, slice(5)), (x[..., :2], slice(5, 7)))
    ]
    with tf.GradientTape() as tape:
        tape.watch(scale)
        outputs = stacked_pass(moving, [tf.constant(x), tf.constant(x[..., :2])], scale, training)
        loss = tf.reduce_sum(outputs[0] * projection)
    np.testing.assert_allclose(outputs[0], plain[0] * scale.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs[1], plain[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, scale), (plain[0] * projection).sum((0, 1, 2)), rtol=1e-4)


def test_stacked_moving_statistics_follow_in_training_only() -> None:
    x = images()
    both = np.concatenate([x, x[..., :2]], -1)
    moving = [keras.Variable(value, trainable=False) for value in np.array([[0] * 7, [1] * 7], np.float32)]
    for training, mean, variance in (
        (False, 0, 1),
        (True, 0.1 * both.mean((0, 1, 2)), 0.9 + 0.1 * both.var((0, 1, 2), ddof=1)),
    ):
        stacked_pass(moving, [tf.constant(x), tf.constant(x[..., :2])], tf.ones(5), training)
        np.testing.assert_allclose(moving[0].numpy(), np.broadcast_to(mean, 7), rtol=1e-5)
        np.testing.assert_allclose(moving[1].numpy(), np.broadcast_to(variance, 7), rtol=1e-5)


def test_constant_channels_become_zero() -> None:
    np.testing.assert_allclose(make(affine=False)(tf.fill(SHAPE, 7.0), training=True), 0, atol=1e-3)


@pytest.mark.parametrize(
    ("affine", "first", "shift"), [(True, 3, 0.0), (False, 3, 0.0), (True, 1, 30.0), (True, 0, 0.0)], ids=str
)
def test_two_replicas_compute_what_one_device_does(affine: bool, first: int, shift: float) -> None:
    """Whatever parts of the batch they have, and however far apart the parts' means are."""
    devices = tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        pytest.skip("needs two logical CPUs")
    x, projection = images(), images(1)
    x[:first] += shift
    alone = make(affine)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        outputs = alone(inputs, training=True)
        loss = tf.reduce_sum(outputs * projection)
    truth = [outputs, *tape.gradient(loss, [inputs, *(variable.value for variable in alone.trainable_variables)])]

    strategy = tf.distribute.MirroredStrategy([device.name for device in devices[:2]])
    with strategy.scope():
        layer = make(affine)

    @tf.function
    def step(inputs: tf.Tensor, projection: tf.Tensor) -> tuple[tf.Tensor, ...]:
        variables = [variable.value for variable in layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs * projection)
        image_gradient, *gradients = tape.gradient(loss, [inputs, *variables])
        context = tf.distribute.get_replica_context()
        return outputs, image_gradient, *(context.all_reduce("sum", gradient) for gradient in gradients)

    def share(values: np.ndarray) -> tf.distribute.DistributedValues:
        parts = np.split(values, [first])
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    outputs, image_gradient, *gradients = (
        strategy.experimental_local_results(value) for value in strategy.run(step, (share(x), share(projection)))
    )
    ours = [tf.concat(outputs, 0), tf.concat(image_gradient, 0), *(gradient[0] for gradient in gradients)]
    for value, true_value in zip(ours, truth, strict=True):
        np.testing.assert_allclose(value, true_value, rtol=1e-4, atol=1e-5)
    for ours_moving, moving in zip(layer.non_trainable_variables, alone.non_trainable_variables, strict=True):
        for copy in strategy.experimental_local_results(ours_moving.value):
            np.testing.assert_allclose(copy, moving.numpy(), rtol=1e-5)
