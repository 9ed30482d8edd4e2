"""Bounds of operations, a genotype's and a supernet's, against the slopes of their outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.layers.factorized_reduction import FactorizedReduction
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.layers.operations import OPERATION_LAYERS
from racl_tf.layers.separable_conv import SeparableConv
from racl_tf.lipschitz.operation_bounds import mixed_edges_bounds
from racl_tf.space import OPERATIONS

ROUNDING = 1 + 1e-5


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
    return float(np.linalg.norm(jacobian(function, x), 2))


def randomise(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Gives normalisations statistics, scales (negative ones too) and offsets as after some training."""
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        if variable.name == "moving_variance":
            variable.assign(rng.uniform(0.2, 2, variable.shape))
        elif variable.name in ("moving_mean", "gamma", "beta"):
            variable.assign(rng.normal(0, 1, variable.shape))


@pytest.mark.parametrize("size", [(5, 5), (2, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATION_LAYERS)
def test_no_slope_of_an_operation_exceeds_its_bound(name: str, stride: int, size) -> None:
    layer = OPERATION_LAYERS[name](4, stride=stride, affine=True, seed=3, dtype=None)
    layer.build((None, *size, 4))
    randomise(layer)
    rng = np.random.default_rng(0)
    bound = layer.lipschitz_bound(size)
    slopes = [slope(layer, rng.normal(size=(1, *size, 4))) for _ in range(3)]
    assert max(slopes) <= bound * ROUNDING
    assert bound <= 50 * max(slopes)


def test_a_factorised_reduction_is_exact_where_it_is_linear() -> None:
    layer = FactorizedReduction(5, seed=1)
    layer.build((None, 4, 6, 3))
    randomise(layer)
    assert layer.lipschitz_bound((4, 6)) == pytest.approx(slope(layer, np.ones((1, 4, 6, 3))), rel=1e-5)


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
                own = OPERATION_LAYERS[name](layer.mixed, stride=layer.stride, affine=True, seed=0, dtype=None)
                own.build((None, *self.SIZE, layer.mixed))
                assert isinstance(own, SeparableConv)
                for i, block in enumerate(blocks):
                    own.depthwise[i].assign(layer.depthwise[block // 3][block % 3, :, :, mine])
                    own.pointwise[i].assign(layer.pointwise[block, ..., mine])
                    first = block * layer.edges * layer.mixed + mine.start
                    own.norms[i].moving_variance.assign(layer.moving_variance[first : first + layer.mixed])
                column = OPERATIONS.index(name)
                assert bounds[edge, column] == pytest.approx(own.lipschitz_bound(self.SIZE), rel=1e-6)
