"""Bounds of layers against the singular values of their dense matrices and the slopes of their outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.layers import functional
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.layers.operations import OPERATION_LAYERS, FactorizedReduction, SeparableConv
from racl_tf.lipschitz.layer_bounds import (
    average_pool_norm,
    convolution_norm,
    depthwise_norms,
    layer_bound,
    max_pool_bound,
    mixed_edges_bounds,
)
from racl_tf.space import OPERATIONS

ROUNDING = 1 + 1e-5


def true_norm(function, shape) -> float:
    """Returns the largest singular value of a linear map of images."""
    pixels = np.prod(shape)
    rows = function(tf.constant(np.eye(pixels).reshape(pixels, *shape), tf.float32)).numpy()
    return np.linalg.norm(rows.reshape(pixels, -1), 2)


def jacobian(function, x) -> np.ndarray:
    """Returns the derivatives (outputs, inputs) at one image (1, ...): each output's at a copy of its own."""
    outputs = int(tf.size(function(tf.constant(x, tf.float32))))
    copies = tf.repeat(tf.constant(x, tf.float32), outputs, axis=0)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        values = function(copies)
    gradients = tape.gradient(values, copies, tf.reshape(tf.eye(outputs), values.shape))
    return gradients.numpy().reshape(outputs, -1)


def slope(function, x) -> float:
    """Returns the largest singular value of the Jacobian at one image (1, ...)."""
    return np.linalg.norm(jacobian(function, x), 2)


def randomise(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Gives normalisations statistics, scales (negative ones too) and offsets as after some training."""
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        if variable.name == "moving_variance":
            variable.assign(rng.uniform(0.2, 2, variable.shape))
        elif variable.name in ("moving_mean", "gamma", "beta"):
            variable.assign(rng.normal(0, 1, variable.shape))


sides = st.integers(1, 9)


@settings(deadline=None, max_examples=25)
@given(sides, sides, st.sampled_from([3, 5]), st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.integers(0, 99))
def test_depthwise_bounds_hold(height, width, window, stride, dilation, seed) -> None:
    kernel = np.random.default_rng(seed).normal(size=(window, window, 2))
    bounds = depthwise_norms(kernel, (height, width), stride=stride, dilation=dilation)
    for channel, bound in enumerate(bounds):
        own = tf.constant(kernel[..., channel, None, None], tf.float32)
        truth = true_norm(lambda x, own=own: functional.depthwise(x, own, stride, dilation), (height, width, 1))
        assert truth <= bound * ROUNDING


@pytest.mark.parametrize(("window", "stride", "dilation"), [(3, 1, 1), (5, 2, 1), (3, 1, 2)])
def test_depthwise_bounds_are_tight_on_large_images(window: int, stride: int, dilation: int) -> None:
    kernel = np.random.default_rng(1).normal(size=(window, window, 1))
    (bound,) = depthwise_norms(kernel, (28, 28), stride=stride, dilation=dilation)
    own = tf.constant(kernel[..., None], tf.float32)
    truth = true_norm(lambda x: functional.depthwise(x, own, stride, dilation), (28, 28, 1))
    assert truth <= bound <= 1.04 * truth


def test_one_pixel_meets_the_centre_of_a_kernel_alone() -> None:
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3))
    np.testing.assert_allclose(depthwise_norms(kernel, (1, 1)), np.abs(kernel[2, 2]))


def test_a_mean_has_norm_one_and_a_difference_two() -> None:
    """Closed forms: at frequency 0 a mean passes all; at the highest a difference of neighbours doubles."""
    mean, difference = np.full((3, 3, 1), 1 / 9), np.zeros((3, 3, 1))
    difference[1, 1:, 0] = 1, -1
    assert depthwise_norms(mean, (9, 9)) == pytest.approx(1)
    assert depthwise_norms(difference, (9, 9)) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize(
    ("window", "size", "strides"),
    [((3, 3), (8, 8), (1, 1)), ((3, 3), (1, 5), (1, 1)), ((7, 1), (9, 6), (2, 1)), ((1, 7), (8, 8), (1, 2))],
)
def test_dense_convolutions(window, size, strides) -> None:
    kernel = np.random.default_rng(0).normal(size=(*window, 2, 3))
    own = tf.constant(kernel, tf.float32)
    truth = true_norm(lambda x: functional.convolution(x, own, strides), (*size, 2))
    assert truth <= convolution_norm(kernel, size, strides=strides) * ROUNDING <= 1.3 * truth


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_the_norm_of_a_pointwise_convolution_is_its_matrix_s(strides) -> None:
    kernel = np.random.default_rng(0).normal(size=(1, 1, 4, 3))
    assert convolution_norm(kernel, (6, 5), strides=strides) == pytest.approx(np.linalg.norm(kernel[0, 0], 2))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (8, 5)])
class TestPools:
    def test_average_pool_is_exact(self, size, stride: int) -> None:
        truth = true_norm(lambda x: functional.average_pool(x, stride), (*size, 1))
        assert average_pool_norm(size, stride) == pytest.approx(truth, rel=1e-5)

    def test_max_pool_is_attained_by_a_single_pixel(self, size, stride: int) -> None:
        pixels = np.eye(np.prod(size), dtype=np.float32).reshape(-1, *size, 1)
        moved = functional.max_pool(tf.constant(pixels), stride).numpy()
        assert max_pool_bound(size, stride) == pytest.approx(np.linalg.norm(moved, axis=(1, 2)).max())

    def test_max_pool_is_never_exceeded(self, size, stride: int) -> None:
        rng = np.random.default_rng(0)
        x, other = (tf.constant(rng.random((200, *size, 1)), tf.float32) for _ in range(2))
        moved = functional.max_pool(x, stride) - functional.max_pool(other, stride)
        ratios = tf.norm(moved, axis=(1, 2)) / tf.norm(x - other, axis=(1, 2))
        assert ratios.numpy().max() <= max_pool_bound(size, stride) * ROUNDING


def test_max_pool_of_large_images() -> None:
    assert (max_pool_bound((32, 32), 1), max_pool_bound((32, 32), 2)) == (3, 2)


@pytest.mark.parametrize("size", [(5, 5), (2, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATION_LAYERS)
def test_no_slope_of_an_operation_exceeds_its_bound(name: str, stride: int, size) -> None:
    layer = OPERATION_LAYERS[name](4, stride, 3, None)
    layer.build((None, *size, 4))
    randomise(layer)
    rng = np.random.default_rng(0)
    bound = layer_bound(layer, size)
    slopes = [slope(layer, rng.normal(size=(1, *size, 4))) for _ in range(3)]
    assert max(slopes) <= bound * ROUNDING
    assert bound <= 50 * max(slopes)


def test_a_factorised_reduction_is_exact_where_it_is_linear() -> None:
    layer = FactorizedReduction(5, seed=1)
    layer.build((None, 4, 6, 3))
    randomise(layer)
    assert layer_bound(layer, (4, 6)) == pytest.approx(slope(layer, np.ones((1, 4, 6, 3))), rel=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("partial", [1, 2])
class TestMixedEdges:
    SIZE = (4, 3)

    @pytest.fixture
    def layer(self, partial: int, stride: int) -> MixedEdges:
        layer = MixedEdges(4, 2, stride=stride, partial=partial, seed=2)
        layer.build((None, None, None, 4))
        randomise(layer)
        return layer

    def slopes(self, layer: MixedEdges, x: np.ndarray) -> np.ndarray:
        """Returns the slope of each operation on each edge at one image (edges, 8)."""
        columns = []
        for operation in range(len(OPERATIONS)):
            alpha = tf.tile(tf.one_hot(operation, len(OPERATIONS))[:, None], [1, layer.edges])
            rows = jacobian(lambda x, alpha=alpha: tf.stack(layer(x, alpha, tf.ones(layer.edges))[0], 1), x)
            columns.append([np.linalg.norm(part, 2) for part in np.split(rows, layer.edges)])
        return np.transpose(columns)

    def test_no_slope_of_an_operation_exceeds_its_edge_s_bound(self, layer: MixedEdges) -> None:
        """What is linear, on positive images, has the slope of its bound."""
        bounds = mixed_edges_bounds(layer, self.SIZE)
        slopes = self.slopes(layer, np.random.default_rng(1).random((1, *self.SIZE, 4)))
        assert (slopes <= bounds * ROUNDING).all()
        for linear in ("none", "avg_pool_3x3", "skip_connect"):
            column = OPERATIONS.index(linear)
            np.testing.assert_allclose(bounds[:, column], slopes[:, column], rtol=1e-5)

    def test_separable_and_dilated_convolutions_are_those_of_a_genotype(self, layer: MixedEdges) -> None:
        """Each edge's slices of the shared variables, copied into a layer of its own."""
        bounds = mixed_edges_bounds(layer, self.SIZE)
        for edge in range(layer.edges):
            mine = slice(edge * layer.mixed, (edge + 1) * layer.mixed)
            for name, blocks in (("sep_conv_3x3", [0, 1]), ("dil_conv_3x3", [2]), ("sep_conv_5x5", [3, 4])):
                own = OPERATION_LAYERS[name](layer.mixed, layer.stride, 0, None)
                own.build((None, *self.SIZE, layer.mixed))
                assert isinstance(own, SeparableConv)
                for i, block in enumerate(blocks):
                    own.depthwise[i].assign(layer.depthwise[block // 3][block % 3, :, :, mine])
                    own.pointwise[i].assign(layer.pointwise[block, ..., mine])
                    first = block * layer.edges * layer.mixed + mine.start
                    own.norms[i].moving_variance.assign(layer.moving_variance[first : first + layer.mixed])
                column = OPERATIONS.index(name)
                assert bounds[edge, column] == pytest.approx(layer_bound(own, self.SIZE), rel=1e-6)


def test_other_layers_have_no_bound() -> None:
    with pytest.raises(TypeError, match="Dense"):
        layer_bound(keras.layers.Dense(1), (2, 2))
