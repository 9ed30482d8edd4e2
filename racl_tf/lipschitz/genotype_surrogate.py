"""The paper's surrogate of the Lipschitz constant, of a discrete network instead of a supernet."""

import math

import keras
import numpy as np
import tensorflow as tf

from racl_tf.errors import unknown
from racl_tf.layers.operations import FactorizedReduction, Pool, ReLUConvBN, SeparableConv
from racl_tf.lipschitz.operation_norms import NORM_KINDS
from racl_tf.lipschitz.spectral import depthwise_operator_norm
from racl_tf.networks.genotype_network import GenotypeNetwork


def log_surrogate(network: GenotypeNetwork, *, norm_kind: str = "matrix") -> float:
    r"""Returns ln prod_k prod_j sum_i lambda_ij, Eq. 10 where every edge of the cell holds one operation.

    It makes networks comparable however their cells were found, also at random. It is no bound.

    Arguments:
        network: a trained network of a genotype.
        norm_kind: of an operation's norm, "matrix" or "operator" (see `OperationNorms`).

    Raises:
        UsageError: the kind of norm is unknown.

    >>> network = GenotypeNetwork("racl", 10, channels=4, cells=3, input_shape=(8, 8, 1))
    >>> log_surrogate(network) < log_surrogate(network, norm_kind="operator")
    True
    """
    if norm_kind not in NORM_KINDS:
        raise unknown("kind of an operation's norm", norm_kind, NORM_KINDS)
    total = 0.0
    for cell in network.cells:
        norms = iter(operation_norm(layer, norm_kind=norm_kind) for layer in cell.operations)
        total += sum(math.log(sum(next(norms) for _ in edges)) for edges in cell.cell.nodes)
    return total


def operation_norm(layer: keras.layers.Layer, *, norm_kind: str = "matrix") -> float:
    """Returns lambda_o of an operation's layer (Section 2.2), exactly."""
    if isinstance(layer, Pool):
        return 1.0 if layer.kind == "max" else layer.stride**-0.5
    if isinstance(layer, SeparableConv):
        return math.prod(_depthwise(kernel.numpy(), norm_kind) for kernel in layer.depthwise) * math.prod(
            _matrix(kernel.numpy()) for kernel in layer.pointwise
        )
    if isinstance(layer, FactorizedReduction):  # the halves read different pixels
        return max(_matrix(kernel.numpy()) for kernel in layer.kernels)
    if isinstance(layer, ReLUConvBN):
        return math.prod(_matrix(kernel.numpy()) for kernel in layer.kernels)
    return 1.0


def _matrix(kernel: np.ndarray) -> float:
    """Returns the norm of a kernel (height, width, in, out) as a matrix (height * width * in, out)."""
    return float(np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2))


def _depthwise(kernel: np.ndarray, norm_kind: str) -> float:
    size, channels = kernel.shape[0], kernel.shape[2]
    windows = kernel.reshape(size * size, channels)
    if norm_kind == "matrix":
        return float(np.linalg.norm(windows, 2))
    return float(depthwise_operator_norm(tf.constant(windows), size))
