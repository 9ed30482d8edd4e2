"""The surrogate of a discrete network against singular values and sums written out from its genotype."""

import math

import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.layers.operations import OPERATION_LAYERS
from racl_tf.lipschitz.genotype_surrogate import log_surrogate
from racl_tf.lipschitz.operation_norms import NORM_KINDS, OperationNorms
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.supernet import Supernet
from racl_tf.space import EDGES, OPERATIONS, Genotype

#: Every kind of operation from an input, which has stride 2 in a reduction cell, and from a node.
EVERY_KIND = """
    max_pool_3x3<-0 avg_pool_3x3<-1 skip_connect<-0
    | sep_conv_3x3<-0 sep_conv_5x5<-1 sep_conv_7x7<-0
    | dil_conv_3x3<-1 dil_conv_5x5<-0 conv_7x1_1x7<-1
    | max_pool_3x3<-2 avg_pool_3x3<-3 skip_connect<-4 sep_conv_3x3<-2
    | sep_conv_5x5<-2 dil_conv_3x3<-3 conv_7x1_1x7<-4 -> concat 2-6
"""
#: Which of a supernet source's six blocks of depthwise and 1x1 kernel an operation is made of.
BLOCKS = {"sep_conv_3x3": [0, 1], "dil_conv_3x3": [2], "sep_conv_5x5": [3, 4], "dil_conv_5x5": [5]}


def largest_singular_value(kernel: np.ndarray) -> float:
    return float(np.sqrt(np.linalg.eigvalsh(kernel.T @ kernel).max()))


def plain_norm(kind: str, stride: int, kernels: list[np.ndarray], norm_kind: str) -> float:
    """lambda of an operation, by reading 7 of the method, from its kernels (height, width, in, out)."""
    if kind == "max_pool_3x3" or (kind == "skip_connect" and stride == 1):
        return 1.0
    if kind == "avg_pool_3x3":
        return 1 / math.sqrt(stride)
    norms = []
    for kernel in kernels:
        height, width, inputs, outputs = kernel.shape
        if height == width > 1:  # depthwise
            windows = kernel[..., 0]
            response = np.abs(np.fft.fft2(windows, (32, 32), axes=(0, 1))).max()
            norms.append(response if norm_kind == "operator" else largest_singular_value(windows.reshape(-1, inputs)))
        else:
            norms.append(largest_singular_value(kernel.reshape(-1, outputs)))
    return max(norms) if kind == "skip_connect" else math.prod(norms)


@pytest.mark.parametrize("norm_kind", NORM_KINDS)
def test_the_sums_over_edges_and_the_product_over_nodes_and_cells(norm_kind: str) -> None:
    genotype = Genotype.from_text(f"normal: {EVERY_KIND} reduce: {EVERY_KIND}")
    network = GenotypeNetwork(genotype, 10, channels=4, cells=3, input_shape=(16, 16, 1))
    total, kinds = 0.0, set()
    for index, cell in enumerate(network.cells):
        layers = iter(cell.operations)
        for edges in genotype.normal.nodes if index == 0 else genotype.reduce.nodes:
            node = 0.0
            for kind, source in edges:
                stride = 2 if index > 0 and source < 2 else 1
                kernels = [
                    variable.numpy() for variable in next(layers).trainable_variables if len(variable.shape) == 4
                ]
                node += plain_norm(kind, stride, kernels, norm_kind)
                kinds.add((kind, stride))
            total += math.log(node)
    assert len(kinds) == 2 * len(OPERATION_LAYERS), "every kind is there with both strides"
    assert log_surrogate(network, norm_kind=norm_kind) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("norm_kind", NORM_KINDS)
def test_operations_have_the_norms_that_a_supernet_s_have_with_the_same_kernels(norm_kind: str) -> None:
    supernet = Supernet(10, channels=4, cells=2, input_shape=(8, 8, 1), partial=1)  # a normal and a reduction cell
    measured = np.exp(OperationNorms(supernet, norm_kind=norm_kind).measure().numpy())
    assert {source.stride for cell in supernet.cells for source in cell.sources} == {1, 2}
    for cell, layer in enumerate(supernet.cells):
        for edge, (source, node) in enumerate(EDGES):
            if (source, node) not in ((0, 2), (1, 5), (3, 5)):  # which stand for all
                continue
            mixed = layer.sources[source]
            for index, kind in enumerate(OPERATIONS[1:], start=1):
                operation = OPERATION_LAYERS[kind](
                    mixed.mixed, stride=mixed.stride, affine=True, seed=0, dtype="float32"
                )
                operation.build((None, 8, 8, mixed.mixed))
                assign(operation, kind, mixed, node - max(source + 1, 2))
                assert operation.lipschitz_norm(norm_kind) == pytest.approx(measured[cell, edge, index], rel=1e-5)


def assign(operation, kind: str, mixed, position: int) -> None:
    """Gives an operation the kernels that an edge of a supernet holds for its kind."""
    mine = slice(position * mixed.mixed, (position + 1) * mixed.mixed)
    if kind in BLOCKS:
        for index, block in enumerate(BLOCKS[kind]):
            operation.depthwise[index].assign(mixed.depthwise[block // 3].numpy()[block % 3, :, :, mine])
            operation.pointwise[index].assign(mixed.pointwise.numpy()[block, :, :, :, mine])
    elif kind == "skip_connect" and mixed.stride == 2:
        halves = np.split(mixed.skip.numpy()[:, :, :, mine], [mixed.mixed // 2], -1)
        for kernel, half in zip(operation.kernels, halves, strict=True):
            kernel.assign(half)


def test_a_larger_kernel_counts_by_its_logarithm() -> None:
    """Doubling both kernels of the only edge of a node, a dilated convolution, adds 2 ln 2 for each cell."""
    genotype = Genotype.from_text("normal: dil_conv_3x3<-0 -> concat 2 reduce: dil_conv_3x3<-1 -> concat 2")
    network = GenotypeNetwork(genotype, 10, channels=4, cells=3, input_shape=(8, 8, 1))
    before = log_surrogate(network)
    for cell in network.cells:
        for variable in (*cell.operations[0].depthwise, *cell.operations[0].pointwise):
            variable.assign(2 * variable)
    assert log_surrogate(network) - before == pytest.approx(6 * math.log(2), rel=1e-5)


def test_an_unknown_reading_suggests() -> None:
    network = GenotypeNetwork("racl", 10, channels=4, cells=3, input_shape=(8, 8, 1))
    with pytest.raises(UsageError, match="Did you mean 'matrix'"):
        log_surrogate(network, norm_kind="matrx")
