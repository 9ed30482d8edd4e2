"""Every lambda of a supernet against singular values and products written out for one operation at a time."""

import math

import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.lipschitz.operation_norms import OperationNorms
from racl_tf.networks.supernet import Supernet
from racl_tf.space import EDGES, OPERATIONS

#: Which of a source's six blocks of depthwise kernel, 1x1 kernel and normalisation an operation is made of.
BLOCKS = {"sep_conv_3x3": [0, 1], "dil_conv_3x3": [2], "sep_conv_5x5": [3, 4], "dil_conv_5x5": [5]}


@pytest.fixture
def supernet() -> Supernet:
    """One normal and two reduction cells, with moving variances as after some training."""
    network = Supernet(10, channels=8, cells=3, input_shape=(8, 8, 1), partial=2)
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if variable.name == "moving_variance":
            variable.assign(rng.uniform(0.2, 2, variable.shape))
    return network


class Plain:
    """lambda of one operation on one edge, by reading 7 of the method."""

    def __init__(self, layer: MixedEdges, position: int, norm_kind: str, batch_norm: bool) -> None:
        self.layer = layer
        self.position = position
        self.norm_kind = norm_kind
        self.batch_norm = batch_norm

    @property
    def mine(self) -> slice:
        return slice(self.position * self.layer.mixed, (self.position + 1) * self.layer.mixed)

    def block(self, number: int) -> float:
        windows = self.layer.depthwise[number // 3].numpy()[number % 3, :, :, self.mine, 0]
        if self.norm_kind == "operator":
            depthwise = np.abs(np.fft.fft2(windows, (32, 32), axes=(0, 1))).max()
        else:
            depthwise = np.linalg.norm(windows.reshape(-1, self.layer.mixed), 2)
        pointwise = np.linalg.norm(self.layer.pointwise.numpy()[number, 0, 0, :, self.mine], 2)
        return depthwise * pointwise * self.normalisation(number * self.width + self.mine.start)

    @property
    def width(self) -> int:
        return self.layer.edges * self.layer.mixed

    def normalisation(self, first: int) -> float:
        """Returns the factor of the normalisation whose statistics, of as many channels as are mixed, begin there."""
        variance = self.layer.moving_variance.numpy()[first : first + self.layer.mixed]
        return 1 / np.sqrt(variance.min() + 1e-5) if self.batch_norm else 1

    def constant(self, operation: str) -> float:
        layer, pools = self.layer, 6 * self.width
        if operation == "none":
            return 0
        if operation == "max_pool_3x3":
            return self.normalisation(pools)
        if operation == "avg_pool_3x3":
            return layer.stride**-0.5 * self.normalisation(pools + layer.mixed)
        if operation == "skip_connect":
            if layer.stride == 1:
                return 1
            halves = np.split(layer.skip.numpy()[0, 0, :, self.mine], [layer.mixed // 2], -1)
            norm = max(float(np.linalg.norm(half, 2)) for half in halves)
            return norm * self.normalisation(pools + 2 * layer.mixed + self.mine.start)
        return math.prod(self.block(number) for number in BLOCKS[operation])


def plain_norms(supernet: Supernet, norm_kind: str, batch_norm: bool = False) -> np.ndarray:
    norms = np.empty([len(supernet.cells), len(EDGES), len(OPERATIONS)])
    for cell, layer in enumerate(supernet.cells):
        for edge, (source, node) in enumerate(EDGES):
            plain = Plain(layer.sources[source], node - max(source + 1, 2), norm_kind, batch_norm)
            norms[cell, edge] = [plain.constant(operation) for operation in OPERATIONS]
    return norms


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("norm_kind", ["matrix", "operator"])
def test_exact_from_the_start(supernet: Supernet, norm_kind: str, batch_norm: bool) -> None:
    log_norms = OperationNorms(supernet, norm_kind=norm_kind, batch_norm=batch_norm).measure().numpy()
    truth = plain_norms(supernet, norm_kind, batch_norm)
    np.testing.assert_array_equal(log_norms[..., 0], -np.inf)
    np.testing.assert_allclose(np.exp(log_norms), truth, rtol=1e-5)
    assert len(np.unique(truth[..., 4:].round(7))) == truth[..., 4:].size


@pytest.mark.parametrize("norm_kind", ["matrix", "operator"])
def test_follows_the_weights(supernet: Supernet, norm_kind: str) -> None:
    """After a step of the weights one iteration is near the new norms, the next nearer, and many reach them.

    Only kernels whose two largest singular values are almost equal take longer.
    """
    norms = OperationNorms(supernet, norm_kind=norm_kind)
    rng = np.random.default_rng(1)
    for variable in supernet.trainable_variables:
        variable.assign_add(rng.normal(0, 0.1 * variable.numpy().std(), variable.shape))
    truth = plain_norms(supernet, norm_kind)[..., 1:]
    measured = [np.exp(norms.measure().numpy()[..., 1:]) for _ in range(50)]
    errors = [np.abs(values / truth - 1) for values in measured]
    assert errors[0].max() < 0.1
    assert errors[1].max() < errors[0].max()
    assert errors[-1].max() < 0.03
    assert (errors[-1] < 1e-3).mean() > 0.95
    assert (measured[-1] <= truth * (1 + 1e-5)).all()


def test_the_readings_differ_where_kernels_are_depthwise(supernet: Supernet) -> None:
    matrix, operator = (
        OperationNorms(supernet, norm_kind=norm_kind).measure().numpy() for norm_kind in ("matrix", "operator")
    )
    np.testing.assert_array_equal(matrix[..., :4], operator[..., :4])
    assert (operator[..., 4:] > matrix[..., 4:]).mean() > 0.9


def test_unknown_reading_suggests(supernet: Supernet) -> None:
    with pytest.raises(UsageError, match="Did you mean 'operator'"):
        OperationNorms(supernet, norm_kind="operators")
