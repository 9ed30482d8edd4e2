"""The genotype's network: sizes, the auxiliary head, drop path, normalisation inside, errors."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.supernet import Supernet
from racl_tf.space import Cell, Genotype

SMALL: dict[str, Any] = {"channels": 4, "cells": 3, "input_shape": (8, 8, 3)}


def images(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).uniform(size=shape), tf.float32)


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((28, 28, 1), [(28, 28), (14, 14), (7, 7)]),
        ((32, 32, 3), [(32, 32), (16, 16), (8, 8)]),
        ((9, 11, 1), [(9, 11), (5, 6), (3, 3)]),
        ((5, 4, 3), [(5, 4), (3, 2), (2, 1)]),
    ],
)
def test_each_reduction_halves_the_features_rounding_up(size: tuple[int, int, int], sides: list) -> None:
    network = GenotypeNetwork("amoebanet", 7, channels=2, cells=3, input_shape=size)
    before = state = network.stem(network.normalize(images(2, *size)))
    found = []
    for cell, planned in zip(network.cells, network.cell_shapes, strict=True):
        before, state = state, cell([before, state])
        found.append(tuple(state.shape[1:3]))
        assert state.shape[1:] == planned[1:]
    assert found == sides  # of three cells the second and the third reduce
    assert network(images(2, *size)).shape == (2, 7)
    assert network.input_shape == (None, *size)


def test_auxiliary_call_gives_the_same_logits_and_a_second_classifier() -> None:
    network = GenotypeNetwork("darts", 5, auxiliary=True, **SMALL)
    x = images(3, 8, 8, 3)
    plain = network(x)
    logits, auxiliary = network(x, auxiliary=True)
    np.testing.assert_array_equal(logits, plain)
    assert auxiliary.shape == (3, 5)
    before = auxiliary.numpy()
    assert network.auxiliary is not None
    network.auxiliary.head.bias.assign_add(tf.range(5.0))
    logits, auxiliary = network(x, auxiliary=True)
    np.testing.assert_array_equal(logits, plain)
    np.testing.assert_allclose(auxiliary - before, tf.broadcast_to(tf.range(5.0), (3, 5)), atol=1e-5)


def test_auxiliary_call_needs_the_auxiliary_head() -> None:
    with pytest.raises(UsageError, match="auxiliary=True"):
        GenotypeNetwork("darts", **SMALL)(images(1, 8, 8, 3), auxiliary=True)


@pytest.mark.parametrize("side", [4, 14, 17, 32])
def test_auxiliary_head_takes_features_of_any_size(side: int) -> None:
    network = GenotypeNetwork("darts", 5, channels=2, cells=3, input_shape=(side, side, 1), auxiliary=True)
    _, auxiliary = network(images(2, side, side, 1), training=True, auxiliary=True)
    assert np.isfinite(auxiliary).all()


def drop(network: GenotypeNetwork, calls: int, x: tf.Tensor) -> np.ndarray:
    """Returns the training logits of a given training call."""
    network.training_calls.assign(calls)
    return network(x, training=True).numpy()


def test_drop_path_repeats_exactly_from_seed_and_call() -> None:
    x = images(4, 8, 8, 3)
    network, twin, other = (GenotypeNetwork("racl", drop_path=0.5, seed=seed, **SMALL) for seed in (1, 1, 2))
    for variable, source in zip(other.weights, network.weights, strict=True):
        variable.assign(source)
    first, second = network(x, training=True).numpy(), network(x, training=True).numpy()
    np.testing.assert_array_equal(twin(x, training=True), first)
    np.testing.assert_array_equal(drop(network, 1, x), second)
    assert np.abs(first - second).max() > 1e-3
    assert np.abs(other(x, training=True) - first).max() > 1e-3


def test_a_ramp_drops_with_its_share_of_the_probability() -> None:
    cell = Cell([[("avg_pool_3x3", 0), ("avg_pool_3x3", 1)]], [2])
    network, plain = (
        GenotypeNetwork(Genotype(cell, cell), drop_path=probability, drop_path_ramp=ramp, seed=1, **SMALL)
        for probability, ramp in ((0.4, True), (0.3, False))
    )
    batch = tf.constant(500)
    np.testing.assert_array_equal(network._draw_kept_paths(batch), 1)
    network.drop_path_share.assign(0.75)
    network.training_calls.assign(0)
    np.testing.assert_allclose(network._draw_kept_paths(batch), plain._draw_kept_paths(batch), rtol=1e-6)
    again = GenotypeNetwork.from_config(network.get_config())
    assert (again.drop_path, again.drop_path_ramp) == (0.4, True)


def test_drop_path_is_off_in_inference_and_counts_training_calls_only() -> None:
    x = images(4, 8, 8, 3)
    dropping, plain = (GenotypeNetwork("racl", drop_path=probability, seed=1, **SMALL) for probability in (0.9, 0.0))
    np.testing.assert_array_equal(dropping(x), plain(x))
    assert int(dropping.training_calls) == 0
    dropping(x, training=True)
    assert int(dropping.training_calls) == 1


def test_drop_path_keeps_or_drops_each_operation_of_each_image_and_preserves_the_expectation() -> None:
    cell = Cell([[("avg_pool_3x3", 0), ("avg_pool_3x3", 1)]], [2])
    network = GenotypeNetwork(Genotype(cell, cell), drop_path=0.3, **SMALL)
    draws = np.stack([network._draw_kept_paths(tf.constant(500)) for _ in range(4)])
    assert draws.shape == (4, 2, 3, 500, 1, 1, 1)
    np.testing.assert_allclose(np.unique(draws), [0, 1 / 0.7], rtol=1e-6)
    # Six standard errors of a mean of 2000 draws.
    error = 6 * np.sqrt(0.3 / 0.7 / 2000)
    np.testing.assert_allclose(draws.mean((0, 3)), 1, atol=error)
    correlation = np.corrcoef(draws.squeeze((4, 5, 6)).transpose(1, 2, 0, 3).reshape(6, -1))
    np.testing.assert_allclose(correlation, np.eye(6), atol=6 / np.sqrt(2000))


def test_a_kept_operation_is_scaled_and_an_identity_never_dropped() -> None:
    cell = Cell([[("skip_connect", 0), ("avg_pool_3x3", 1)]], [2])
    layer = GenotypeNetwork(Genotype(cell, cell), **SMALL).cells[0]
    inputs = [images(3, 8, 8, 12), images(3, 8, 8, 12, seed=1)]
    skip, pool = (
        operation(preprocess(state))
        for operation, preprocess, state in zip(layer.operations, layer.preprocessing, inputs, strict=True)
    )
    factors = tf.reshape([0.0, 1.0, 2.0], [3, 1, 1, 1])
    np.testing.assert_allclose(layer(inputs, keep=[tf.zeros_like(factors), factors]), skip + factors * pool, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_inside_equals_normalised_images_outside(channels: int) -> None:
    sizes = {**SMALL, "input_shape": (8, 8, channels)}
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.1)[:channels]
    inside, outside = GenotypeNetwork("racl", mean=mean, std=std, **sizes), GenotypeNetwork("racl", **sizes)
    x = images(3, 8, 8, channels)
    np.testing.assert_allclose(inside(x), outside((x - mean) / std), rtol=1e-4, atol=1e-5)


def test_pixels_are_normalised_before_they_are_rounded_to_bfloat16() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = GenotypeNetwork("racl", mean=0.9, std=1e-3, **{**SMALL, "cells": 1})
        plain = GenotypeNetwork("racl", **{**SMALL, "cells": 1})
    finally:
        keras.config.set_dtype_policy(before)
    details = images(3, 8, 8, 3)  # after rounding, 0.9 + 1e-3 * details would be one and the same number
    truth = plain(details)
    np.testing.assert_allclose(network(0.9 + 1e-3 * details), truth, atol=0.05 * np.abs(truth).max())


def test_one_number_normalises_every_channel() -> None:
    one, three = (GenotypeNetwork("racl", mean=m, std=s, **SMALL) for m, s in ((0.4, 0.2), ((0.4,) * 3, (0.2,) * 3)))
    x = images(3, 8, 8, 3)
    np.testing.assert_array_equal(one(x), three(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"genotype": "rakl"}, "Did you mean 'racl'"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"num_classes": 2.0}, "num_classes=2.0"),
        ({"channels": -4}, "channels=-4"),
        ({"cells": 0}, "cells=0"),
        ({"input_shape": (8, 8, 2)}, r"1 or 3 channels.*\(8, 8, 2\)"),
        ({"input_shape": (8, 8)}, r"\(8, 8\)"),
        ({"input_shape": (0, 8, 3)}, r"\(0, 8, 3\)"),
        ({"mean": (0.5, 0.5)}, r"`mean`.*\(0.5, 0.5\)"),
        ({"std": 0.0}, "`std` must be positive.*0.0"),
        ({"drop_path": 1.0}, "drop_path=1.0"),
    ],
)
def test_unusable_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GenotypeNetwork(**{"genotype": "racl", **SMALL, **arguments})


@pytest.mark.parametrize(("channels", "partial"), [(6, 4), (4, 0), (4, 2.0)])
def test_supernet_channels_must_be_divisible(channels: int, partial: int) -> None:
    with pytest.raises(UsageError, match=f"channels={channels}, partial={partial}"):
        Supernet(10, channels=channels, partial=partial)


@pytest.mark.parametrize(("cells", "least"), [(1, 2), (2, 4), (3, 4)])
def test_images_must_survive_every_reduction(cells: int, least: int) -> None:
    smallest = GenotypeNetwork("racl", 10, channels=2, cells=cells, input_shape=(least, least, 1))
    assert smallest.cell_shapes[-1][1:3] == (1, 1)
    with pytest.raises(UsageError, match=f"at least {least} pixels"):
        GenotypeNetwork("racl", 10, channels=2, cells=cells, input_shape=(8, least - 1, 1))
