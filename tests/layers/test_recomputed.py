"""A cell that is computed again in the backward pass gives what it gives otherwise, state and all, on any device."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf import AdversarialTrainer, ConfidenceConstraint, GenotypeNetwork, RACLSearch, Supernet
from racl_tf.attacks import pgd
from racl_tf.layers import BatchNorm
from racl_tf.layers.recomputed import recomputed


def images(count: int, *, seed: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(seed)
    return tf.constant(rng.random((count, 8, 8, 1)), tf.float32), tf.constant(rng.integers(0, 10, count), tf.int32)


def search(*, recompute: bool) -> RACLSearch:
    model = RACLSearch(Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1)), constraint=ConfidenceConstraint())
    model.supernet.recompute = recompute
    model.compile()
    return model


def trainer(*, recompute: bool) -> AdversarialTrainer:
    network = GenotypeNetwork("racl", 10, channels=4, cells=1, input_shape=(8, 8, 1), drop_path=0.3, auxiliary=True)
    network.recompute = recompute
    model = AdversarialTrainer(network, pgd(0.1, 0.05, 1))
    model.compile()
    return model


@pytest.mark.parametrize(("make", "replicas"), [(search, 1), (trainer, 1), (trainer, 2)])
def test_training_is_the_same(
    make: Callable[..., keras.Model], replicas: int, two_replicas: tf.distribute.Strategy
) -> None:
    """Two steps, with attacks, drop path and an auxiliary head: all variables, moving statistics among them."""
    found = []
    for recompute in (False, True):
        strategy = two_replicas if replicas > 1 else tf.distribute.get_strategy()
        with strategy.scope():
            model = make(recompute=recompute)
        halves = images(8), images(8, seed=1)
        data = tf.data.Dataset.from_tensors(halves if make is search else halves[0]).repeat(2)
        model.fit(data, epochs=1, steps_per_epoch=2, verbose=0)
        found.append([(variable.path, keras.ops.convert_to_numpy(variable)) for variable in model.variables])
    for (path, expected), (_, value) in zip(*found, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=2e-5, err_msg=path)


def test_gradients_and_moving_statistics_of_one_layer() -> None:
    layer = BatchNorm()
    layer.build((None, 4, 4, 3))
    again = BatchNorm()
    again.build((None, 4, 4, 3))
    x = tf.constant(np.random.default_rng(0).normal(2, 3, (5, 4, 4, 3)), tf.float32)

    @tf.function(autograph=False)
    def run(layer: BatchNorm, *, again: bool) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            call = lambda inputs: layer(inputs, training=True)  # noqa: E731
            outputs = recomputed(layer, call, x) if again else call(x)
            loss = tf.reduce_sum(outputs**3)
        return outputs, tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])

    expected, found = run(layer, again=False), run(again, again=True)
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(again.moving_mean, layer.moving_mean)
    np.testing.assert_array_equal(again.moving_variance, layer.moving_variance)
    assert np.abs(np.array(layer.moving_mean)).min() > 0


def test_a_forward_pass_runs_twice_and_its_values_are_not_kept() -> None:
    """Of a graph of the gradient, twice as many convolutions stand before the end as without."""
    counts = []
    for recompute in (False, True):
        network = GenotypeNetwork("racl", 10, channels=4, cells=3, input_shape=(8, 8, 1))
        network.recompute = recompute

        @tf.function(autograph=False)
        def gradient(x: tf.Tensor, network: GenotypeNetwork = network) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(network(x, training=True))
            return tape.gradient(loss, x)

        graph = gradient.get_concrete_function(images(2)[0]).graph
        counts.append(
            sum(operation.type in ("Conv2D", "DepthwiseConv2dNative") for operation in graph.get_operations())
        )
    assert 1.8 * counts[0] < counts[1] <= 2 * counts[0]
