"""The pair of Lipschitz figures: what they enclose, networks that attain the upper one, maps of known slope."""

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import Classifier
from racl_tf.errors import UsageError
from racl_tf.layers.factorized_reduction import FactorizedReduction
from racl_tf.layers.mixed_cell import LEAVING
from racl_tf.layers.separable_conv import SeparableConv
from racl_tf.lipschitz.bounds import lipschitz_bounds, steepest_slope, upper_bound
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.resnet import ResNet18
from racl_tf.networks.robnet import LARGE_V1, RobNet
from racl_tf.networks.supernet import Supernet
from racl_tf.search.racl_search import RACLSearch
from racl_tf.space import EDGES, OPERATIONS, Genotype, select_genotype

SIZES: dict[str, Any] = {"channels": 4, "cells": 3}
NETWORKS = {
    "racl": lambda: GenotypeNetwork("racl", 5, **SIZES, input_shape=(7, 9, 1), mean=0.3, std=0.4),
    "nasnet": lambda: GenotypeNetwork("nasnet", 5, channels=4, cells=1, input_shape=(6, 6, 3), std=(0.2, 0.5, 0.3)),
    "amoebanet": lambda: GenotypeNetwork("amoebanet", 5, **SIZES, input_shape=(8, 8, 1)),
    "robnet": lambda: RobNet(LARGE_V1, 5, channels=4, cells=1, input_shape=(8, 8, 1)),
    "supernet": lambda: Supernet(5, channels=4, cells=2, input_shape=(7, 9, 1), partial=2, mean=0.3, std=0.4),
}


def weights_of(network, seed: int = 0) -> dict[str, Any]:
    """Returns random alpha and beta for a supernet, nothing for others."""
    rng = np.random.default_rng(seed)
    supernet = isinstance(network, Supernet)
    return {"alpha": rng.random((2, 14, 8)), "beta": rng.random((2, 14))} if supernet else {}


def train(network, images: np.ndarray, weights: dict[str, np.ndarray]) -> None:
    """Takes three steps of plain descent, which move weights and statistics far from where they started."""
    given = {name: tf.constant(values, tf.float32) for name, values in weights.items()}
    labels = np.arange(len(images)) % network.num_classes
    for _ in range(3):
        with tf.GradientTape() as tape:
            logits = network(images, **given, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = network.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
            variable.assign_sub(0.1 * gradient)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_pair_encloses_what_images_do(name: str) -> None:
    """Of a trained network lower <= upper, and no pair of images, near or far, is driven apart by more than upper."""
    network, rng = NETWORKS[name](), np.random.default_rng(0)
    weights = weights_of(network)
    images = rng.random((6, *network.image_shape), np.float32)
    given = {key: tf.constant(values, tf.float32) for key, values in weights.items()}
    new = upper_bound(network, **weights)
    train(network, images, weights)
    trained = lipschitz_bounds(network, images, **weights)
    assert 0 < trained.lower <= trained.upper < np.inf
    assert trained.upper == upper_bound(network, **weights) != new
    for distance in (0.01, 1.0):
        others = images + distance * (rng.random(images.shape, np.float32) - images)
        moved = np.linalg.norm(network(images, **given) - network(others, **given), axis=1)
        assert (moved / np.linalg.norm((images - others).reshape(6, -1), axis=1) <= trained.upper).all()


def test_the_upper_bound_scales_with_the_last_layer_and_the_pixels() -> None:
    def bound(std: float, factor: float) -> float:
        network = GenotypeNetwork("racl", 3, **SIZES, input_shape=(6, 6, 1), std=std)
        network.head.kernel.assign(factor * network.head.kernel)
        return upper_bound(network)

    assert bound(1.0, -2.0) == pytest.approx(2 * bound(1.0, 1.0))
    assert bound(0.5, 1.0) == pytest.approx(2 * bound(1.0, 1.0))


def test_a_network_of_aligned_weights_attains_the_upper_bound() -> None:
    """Of positive weights it is linear; each matrix is u v' with v along what it is given, and pixels do not mix.

    Then, for an image of the pixels that no stride leaves out, norms of layers in a row multiply, those of summands
    add and those of concatenated nodes add as squares: a bound that forgets or counts twice has nowhere to hide.
    """
    nodes = [[["sep_conv_3x3", 0], ["dil_conv_5x5", 1]], [["sep_conv_5x5", 2], ["dil_conv_3x3", 0]]]
    cell = {"nodes": [*nodes, [["sep_conv_3x3", 3], ["sep_conv_3x3", 1]]], "concat": [2, 4]}
    genotype = Genotype.from_json(json.dumps({"normal": cell, "reduce": cell}))
    network = GenotypeNetwork(genotype, 3, **SIZES, input_shape=(8, 8, 1), std=0.5)
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[:, ::4, ::4] = 1
    for variable in network.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(tf.fill(variable.shape, 0.6 if variable.name == "gamma" else 0.25))

    def align(kernel: keras.Variable, state: tf.Tensor) -> None:
        kernel.assign(tf.zeros(kernel.shape) + tf.reshape(tf.math.l2_normalize(state), [-1, 1]))

    def centre(kernel: keras.Variable) -> None:
        values = np.zeros(kernel.shape)
        values[kernel.shape[0] // 2, kernel.shape[1] // 2] = 0.7
        kernel.assign(values)

    centre(network.stem.kernel)
    before = state = network.stem(network.normalize(image))
    for layer in network.cells:
        states = [before, state]
        for index, (preprocessing, given) in enumerate(zip(layer.preprocessing, list(states), strict=True)):
            for kernel in preprocessing.kernels:
                align(kernel, given[0, 0, 0])
            states[index] = preprocessing(given)
        operations = iter(layer.operations)
        for edges in layer.cell.nodes:
            total = 0
            for edge in edges:
                operation = next(operations)
                for block, pointwise in enumerate(operation.pointwise):
                    centre(operation.depthwise[block])
                    align(pointwise, states[edge.source][0, 0, 0] if block == 0 else tf.ones(pointwise.shape[2]))
                total += operation(states[edge.source])
            states.append(total)
        before, state = state, layer([before, state])
    align(network.head.kernel, state[0, 0, 0])
    moved = np.linalg.norm(network(image) - network(0.5 * image)) / np.linalg.norm(0.5 * image)
    assert upper_bound(network) == pytest.approx(moved, rel=1e-5)


def test_a_supernet_with_one_operation_an_edge_is_the_genotype_s_network() -> None:
    """With the same weights, all channels mixed and weights of 1 or 0: the same logits and the same upper bound."""
    rng = np.random.default_rng(0)
    scores = np.zeros((2, 14, 8))
    scores[..., 3:] = rng.random((2, 14, 5))  # skips and convolutions, which have no further normalisation
    genotype = select_genotype(scores)
    supernet = Supernet(5, **SIZES, input_shape=(7, 6, 1), partial=1, seed=3)
    network = GenotypeNetwork(genotype, 5, **SIZES, input_shape=(7, 6, 1))
    train(supernet, rng.random((4, 7, 6, 1), np.float32), weights_of(supernet))
    network.stem.set_weights(supernet.stem.get_weights())
    network.head.set_weights(supernet.head.get_weights())
    alpha, beta = np.zeros((2, 14, 8), np.float32), np.zeros((2, 14), np.float32)
    for mixed, plain in zip(supernet.cells, network.cells, strict=True):
        for source, target in zip(mixed.preprocessing, plain.preprocessing, strict=True):
            for kernel, value in zip(target.kernels, source.kernels, strict=True):
                kernel.assign(value)
            target.norm.moving_mean.assign(source.norm.moving_mean)
            target.norm.moving_variance.assign(source.norm.moving_variance)
        operations = iter(plain.operations)
        for node, edges in enumerate(plain.cell.nodes, start=2):
            for name, source in edges:
                number = EDGES.index((source, node))
                beta[int(mixed.reduction), number] = alpha[int(mixed.reduction), number, OPERATIONS.index(name)] = 1
                copy_operation(mixed.sources[source], LEAVING[source].index(number), name, next(operations))
    images = rng.random((4, 7, 6, 1), np.float32)
    np.testing.assert_allclose(supernet(images, alpha, beta), network(images), rtol=1e-3, atol=1e-5)
    assert upper_bound(supernet, alpha=alpha, beta=beta) == pytest.approx(upper_bound(network), rel=1e-6)


def copy_operation(source, position: int, name: str, target: keras.layers.Layer) -> None:
    """Copies the weights of one operation of one edge."""
    width = source.edges * source.mixed
    mine = slice(position * source.mixed, (position + 1) * source.mixed)

    def copy_statistics(norm, first: int) -> None:
        for name in ("moving_mean", "moving_variance"):
            getattr(norm, name).assign(getattr(source, name)[first + mine.start : first + mine.stop])

    if isinstance(target, SeparableConv):
        blocks = {"sep_conv_3x3": [0, 1], "dil_conv_3x3": [2], "sep_conv_5x5": [3, 4], "dil_conv_5x5": [5]}[name]
        for i, block in enumerate(blocks):
            target.depthwise[i].assign(source.depthwise[block // 3][block % 3, :, :, mine])
            target.pointwise[i].assign(source.pointwise[block, ..., mine])
            copy_statistics(target.norms[i], block * width)
    elif isinstance(target, FactorizedReduction):
        for kernel, half in zip(target.kernels, np.split(source.skip[..., mine], 2, -1), strict=True):
            kernel.assign(half)
        copy_statistics(target.norm, 6 * width + 2 * source.mixed)


def test_a_larger_weight_raises_the_upper_bound() -> None:
    network = NETWORKS["supernet"]()
    weights = weights_of(network)
    bound = upper_bound(network, **weights)
    for name, index in (("alpha", (1, 3, 5)), ("beta", (1, 9)), ("alpha", (1, 2, 1))):
        larger = {key: values.copy() for key, values in weights.items()}
        larger[name][index] += 10
        assert upper_bound(network, **larger) > bound


def test_channels_that_bypass_the_mixture_count() -> None:
    """With every alpha 0 they are all that is left, and still move the logits."""
    network, rng = NETWORKS["supernet"](), np.random.default_rng(0)
    alpha, beta = np.zeros((2, 14, 8), np.float32), np.ones((2, 14), np.float32)
    images, others = rng.random((2, 4, *network.image_shape), np.float32)
    moved = np.linalg.norm(network(images, alpha, beta) - network(others, alpha, beta), axis=1)
    ratios = moved / np.linalg.norm((images - others).reshape(4, -1), axis=1)
    assert 0 < ratios.max() <= upper_bound(network, alpha=alpha, beta=beta)


class TestSteepestSlope:
    IMAGES = np.random.default_rng(0).random((7, 3, 2, 1))

    @pytest.mark.parametrize("batch_size", [1, 4, 7])
    def test_of_a_linear_map_is_its_norm(self, batch_size: int) -> None:
        matrix = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
        linear = Classifier(lambda x: tf.matmul(tf.reshape(x, [-1, 6]), matrix) + 3.0)
        slope = steepest_slope(linear, self.IMAGES, batch_size=batch_size)
        assert slope == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-6)

    def test_is_the_largest_over_images(self) -> None:
        """Of 50 x^2 a pixel, twice: 100 sqrt(2) x at the brightest pixel, within a grey level."""
        squares = Classifier(lambda x: 50 * tf.concat([tf.reshape(x, [-1, 6])] * 2, 1) ** 2)
        slope = steepest_slope(squares, self.IMAGES)
        assert slope == pytest.approx(100 * np.sqrt(2) * self.IMAGES.max(), abs=100 * np.sqrt(2) / 255)

    def test_is_not_deceived_by_ties(self) -> None:
        """2 x - max(x, c) + max(-x, -c) is x - c, but where x equals c backpropagation may give 2."""

        def identity(x):
            x = tf.reshape(x, [-1, 6]) - 0.5
            return 2 * x - tf.nn.relu(x) + tf.nn.relu(-x)

        grey = np.full((2, 3, 2, 1), 0.5)
        with tf.GradientTape() as tape:
            x = tf.constant(grey)
            tape.watch(x)
            y = identity(x)
        assert float(tf.reduce_max(tape.gradient(y, x))) == 2
        assert steepest_slope(Classifier(identity), grey) == pytest.approx(1)


def test_what_is_refused() -> None:
    supernet, network = NETWORKS["supernet"](), NETWORKS["racl"]()
    images, weights = np.zeros((1, 7, 9, 1)), weights_of(NETWORKS["supernet"]())
    with pytest.raises(UsageError, match=r"GenotypeNetwork, RobNet and, with alpha and beta, Supernet.*ResNet18"):
        lipschitz_bounds(ResNet18(10, channels=2, input_shape=(8, 8, 1)), np.zeros((1, 8, 8, 1)))
    with pytest.raises(UsageError, match=r"RACLSearch\. Of a search take its supernet"):
        lipschitz_bounds(RACLSearch(supernet), images)
    with pytest.raises(UsageError, match=r"median\(\). Received: shapes None and None"):
        lipschitz_bounds(supernet, images)
    with pytest.raises(UsageError, match=r"Received: shapes \(14, 8\) and \(2, 14\)"):
        lipschitz_bounds(supernet, images, alpha=weights["alpha"][0], beta=weights["beta"])
    with pytest.raises(UsageError, match="are for a Supernet; a GenotypeNetwork has its operations"):
        lipschitz_bounds(network, images, **weights)
    with pytest.raises(UsageError, match=r"values from 0\.0 to 255\.0"):
        lipschitz_bounds(network, [[0.0, 255.0]])
    with pytest.raises(UsageError, match="does not take images"):
        lipschitz_bounds(network, np.zeros((1, 7, 9, 3)))
    with pytest.raises(UsageError, match=r"`batch_size`, expected at least 1\. Received: 0"):
        lipschitz_bounds(network, images, batch_size=0)
    network.head.bias.assign(np.full(5, np.nan))
    with pytest.raises(UsageError, match="weights are not all finite"):
        upper_bound(network)
