"""Gains of a supernet's operations: the largest singular value of the Jacobian of each, alone."""

import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.layers.mixed_cell import LEAVING
from racl_tf.lipschitz.operation_gains import compare_norms_with_gains, operation_gains
from racl_tf.networks.supernet import Supernet
from racl_tf.space import EDGES, OPERATIONS, ZERO

ALPHA, BETA = np.full((2, 14, 8), 1 / 8, np.float32), np.full((2, 14), 1 / 3, np.float32)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    network = Supernet(10, channels=4, cells=3, input_shape=(8, 8, 3), seed=1)
    images = np.random.default_rng(0).random((32, 8, 8, 3), np.float32)
    for _ in range(5):  # moving statistics that are not those of the start
        network(images, ALPHA, BETA, training=True)
    return network


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).random((count, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def gains(supernet: Supernet) -> np.ndarray:
    return operation_gains(supernet, images(), ALPHA, BETA, iterations=100)


@pytest.mark.parametrize("cell", [0, 1])  # a normal and a reduction cell
@pytest.mark.parametrize("operation", ["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"])
def test_is_the_largest_singular_value_of_the_jacobian(
    supernet: Supernet, gains: np.ndarray, cell: int, operation: str
) -> None:
    """With one operation on one edge, the mixed channels of the layer's output are that operation's alone."""
    x = supernet.stem(supernet.normalize(images()), training=False)
    before = state = x
    for earlier in supernet.cells[:cell]:
        before, state = state, earlier([before, state], ALPHA[0], BETA[0])
    kind = int(supernet.cells[cell].reduction)
    node = supernet.cells[cell].states([before, state], ALPHA[kind], BETA[kind])[1]
    layer = supernet.cells[cell].sources[1]
    alpha = np.zeros((8, layer.edges), np.float32)
    alpha[OPERATIONS.index(operation)] = 1
    mixed, bypass = node[..., : layer.mixed], node[..., layer.mixed :]
    with tf.GradientTape() as tape:
        tape.watch(mixed)
        mixtures, _ = layer(tf.concat([mixed, bypass], -1), alpha, np.ones(layer.edges, np.float32))
        output = mixtures[2]
    jacobian = tape.batch_jacobian(output, mixed)
    matrices = np.reshape(jacobian, (2, np.prod(output.shape[1:]), np.prod(mixed.shape[1:])))
    expected = np.linalg.svd(matrices, compute_uv=False)[:, 0].max()
    assert gains[cell, LEAVING[1][2], OPERATIONS.index(operation)] == pytest.approx(expected, rel=0.01)


def test_zero_and_skip(supernet: Supernet, gains: np.ndarray) -> None:
    assert gains.shape == (3, len(EDGES), len(OPERATIONS))
    assert not gains[..., ZERO].any()
    np.testing.assert_array_equal(gains[supernet.cells[0].reduction * 1, :, OPERATIONS.index("skip_connect")], 1)


def test_more_images_and_steps_find_more(supernet: Supernet, gains: np.ndarray) -> None:
    few = operation_gains(supernet, images()[:1], ALPHA, BETA, iterations=3)
    assert np.all(few <= gains * (1 + 1e-4))
    assert np.mean(few < gains) > 0.5


def test_wrong_input(supernet: Supernet) -> None:
    with pytest.raises(
        UsageError, match=r"`iterations` of power iteration must be at least 1\. Received: iterations=0"
    ):
        operation_gains(supernet, images(), ALPHA, BETA, iterations=0)
    with pytest.raises(UsageError, match=r"\[0, 1\]"):
        operation_gains(supernet, 255 * images(), ALPHA, BETA)


def test_rank_correlation_by_hand() -> None:
    """Norms that fall where gains rise on half of the edges: -1 there, +1 on the others; zero counts nowhere."""
    gains = np.broadcast_to(np.arange(1.0, 9.0), (2, 14, 8))
    log_norms = np.array(gains)
    log_norms[0] *= -1
    log_norms[..., ZERO] = -np.inf
    comparison = compare_norms_with_gains(log_norms, gains, images=4)
    assert comparison.within_edges == pytest.approx(0)
    assert comparison.correlation == pytest.approx(0, abs=1e-12)
    assert comparison.gains["max_pool_3x3"] == 2
    assert comparison.norms["dil_conv_5x5"] == pytest.approx(1)  # the median of exp(8) and exp(-8) in logarithms
    assert compare_norms_with_gains(log_norms[1:], gains[1:], images=4).correlation == pytest.approx(1)
