"""The Lipschitz constants lambda_o of a supernet's operations, tracked by power iteration."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.architecture.spectral import depthwise_operator_norm, gain, leading_vectors, power_iteration
from racl_tf.errors import unknown
from racl_tf.layers.batch_norm import EPSILON
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.networks.supernet import Supernet
from racl_tf.space import INPUTS, NODES, OPERATIONS, edges_from

READINGS = ("matrix", "operator")
#: Where each edge stands when edges are listed source by source.
_BY_EDGE = np.argsort(np.concatenate([edges_from(source) for source in range(INPUTS + NODES - 1)]))


class OperationNorms(keras.layers.Layer):
    r"""Measures ln(lambda_o) of every operation on every edge of every cell (Section 2.2).

    Average pool S^-0.5 for stride S; max pool 1; skip 1; zero 0; what has convolutions: the
    product of their spectral norms (separable 4 factors, dilated 2). The skip at stride 2 is
    a convolution whose two halves read different pixels, so that its norm is the larger one's.

    The leading singular vectors start exact and follow the weights by one step of power
    iteration a measurement. Kernels of equal size are stacked over edges and cells, so that one
    measurement is a few batched products.

    Arguments:
        supernet: whose operations are measured.
        reading: "matrix", the paper's: the norm of a kernel reshaped to (out, in * k * k); "operator": the
            norm of the convolution itself, for a depthwise kernel the largest magnitude of its frequency response.
        batch_norm: whether each normalisation's factor, the largest of 1 / sqrt(moving variance), is included.

    Raises:
        UsageError: the reading is unknown.

    Differences from the paper:
        An overlapping max pool's constant is up to 3, not 1; the paper's 1 is kept. `batch_norm` is not in the paper.
    """

    def __init__(self, supernet: Supernet, *, reading: str = "matrix", batch_norm: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if reading not in READINGS:
            raise unknown("reading of an operation's norm", reading, READINGS)
        self.reading = reading
        self.batch_norm = batch_norm
        self._vectors = {
            group: self.add_weight(
                (stack.shape[0], stack.shape[-1]),
                lambda *_, start=leading_vectors(stack.numpy()), **__: start,  # noqa: B008
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=f"vectors_{group}",
            )
            for group, stack in ((group, _stacked(kernels)) for group, kernels in _groups(supernet).items())
            if not self._is_exact(group)
        }
        self.built = True

    def _is_exact(self, group: str) -> bool:
        return self.reading == "operator" and group.startswith("depthwise")

    def measure(self, supernet: Supernet) -> tf.Tensor:
        """Takes one step of power iteration and returns ln(lambda_o) (cells, 14, 8), -inf for zero.

        `supernet` is the one this was made for, or one of equal shape.
        """
        norms = {
            group: iter(tf.split(self._norms(group, _stacked(kernels)), [kernel.shape[1] for kernel in kernels]))
            for group, kernels in _groups(supernet).items()
        }
        cells = []
        for cell in supernet.cells:
            by_source = tf.concat([self._constants(layer, norms) for layer in cell.sources], 0)
            cells.append(tf.gather(by_source, _BY_EDGE))
        return tf.stop_gradient(tf.math.log(tf.stack(cells)))

    def _norms(self, group: str, stack: tf.Tensor) -> tf.Tensor:
        """Returns the norms (n,) of matrices (n, rows, columns), for which power iteration takes one step."""
        if self._is_exact(group):
            return depthwise_operator_norm(stack, size=math.isqrt(stack.shape[1]))
        vectors = power_iteration(stack, tf.convert_to_tensor(self._vectors[group]))
        self._vectors[group].assign(vectors)
        return gain(stack, vectors)

    def _constants(self, layer: MixedEdges, norms: dict[str, Iterator[tf.Tensor]]) -> tf.Tensor:
        """Returns lambda (E, 8) of one source's edges, taking the next norms of its kernels' groups."""
        one = tf.ones([layer.edges])
        constants = {
            "none": 0 * one,
            "max_pool_3x3": one,
            "avg_pool_3x3": layer.stride**-0.5 * one,
            "skip_connect": one,
        }
        for operation, kernels in layer.convolution_matrices().items():
            factors = [next(norms[_group(operation, i, kernel)]) for i, kernel in enumerate(kernels)]
            combine = tf.maximum if operation == "skip_connect" else tf.multiply
            constants[operation] = functools.reduce(combine, factors)
        if self.batch_norm:
            for operation, layers in layer.normalisations().items():
                for norm in layers:
                    factors = tf.math.rsqrt(tf.convert_to_tensor(norm.moving_variance) + EPSILON)
                    constants[operation] *= tf.reduce_max(tf.reshape(factors, [-1, layer.mixed]), -1)
        return tf.stack([constants[operation] for operation in OPERATIONS], -1)


def _group(operation: str, position: int, kernel: tf.Tensor) -> str:
    kind = "depthwise" if operation != "skip_connect" and position % 2 == 0 else "dense"
    return f"{kind}_{kernel.shape[0]}x{kernel.shape[2]}"


def _groups(supernet: Supernet) -> dict[str, list[tf.Tensor]]:
    """Returns all kernels (rows, E, columns) of one kind and size together, cell by cell and source by source."""
    groups: dict[str, list[tf.Tensor]] = {}
    for cell in supernet.cells:
        for layer in cell.sources:
            for operation, kernels in layer.convolution_matrices().items():
                for position, kernel in enumerate(kernels):
                    groups.setdefault(_group(operation, position, kernel), []).append(kernel)
    return groups


def _stacked(kernels: list[tf.Tensor]) -> tf.Tensor:
    return tf.transpose(tf.concat(kernels, 1), [1, 0, 2])
