"""The Lipschitz constants lambda_o of a supernet's operations, tracked by power iteration."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.architecture.spectral import depthwise_operator_norm, gain, leading_vectors, power_iteration
from racl_tf.errors import unknown
from racl_tf.layers.batch_norm import EPSILON, BatchNorm
from racl_tf.layers.mixed_cell import edges_from
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.networks.supernet import Supernet
from racl_tf.space import EDGES, OPERATIONS

READINGS = ("matrix", "operator")


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
            name: self.add_weight(
                (*stack.shape[:-2], stack.shape[-1]),
                lambda *_, start=leading_vectors(stack.numpy()), **__: start,  # noqa: B008
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=f"vectors_{name}",
            )
            for name, stack in _stacks(supernet).items()
            if not self._is_exact(name)
        }
        self.built = True

    def _is_exact(self, name: str) -> bool:
        return self.reading == "operator" and name.startswith("depthwise")

    def measure(self, supernet: Supernet) -> tf.Tensor:
        """Takes one step of power iteration and returns ln(lambda_o) (cells, 14, 8), -inf for zero.

        `supernet` has the kernel sizes of the one this was made for.
        """
        norms = {}
        for name, stack in _stacks(supernet).items():
            stack = tf.stop_gradient(stack)
            if self._is_exact(name):
                norms[name] = depthwise_operator_norm(stack, size=int(name.split("_")[1][0]))
            else:
                vectors = power_iteration(stack, tf.convert_to_tensor(self._vectors[name]))
                self._vectors[name].assign(vectors)
                norms[name] = gain(stack, vectors)
        return tf.math.log(self._assemble(supernet, norms))

    def _assemble(self, supernet: Supernet, norms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns lambda (cells, 14, 8) from the norms of all kernels, stacked as by `_stacks`."""
        used = dict.fromkeys(norms, 0)
        constants: list[list[tf.Tensor]] = [[tf.zeros([len(OPERATIONS)])] * len(EDGES) for _ in supernet.cells]
        for cell, source, layer in _sources(supernet):

            def take(kind: str, count: int, layer: MixedEdges = layer) -> list[tf.Tensor]:
                name = f"{kind}_{layer.mixed}"
                start, used[name] = used[name], used[name] + count * layer.edges
                return tf.unstack(tf.reshape(norms[name][start : used[name]], [count, layer.edges]))

            per_operation = self._operation_constants(layer, take)
            per_edge = tf.unstack(tf.stack([per_operation[name] for name in OPERATIONS], -1), layer.edges)
            for edge, values in zip(edges_from(source), per_edge, strict=True):
                constants[cell][edge] = values
        return tf.stack([tf.stack(edges) for edges in constants])

    def _operation_constants(self, layer: MixedEdges, take: Any) -> dict[str, tf.Tensor]:
        """Returns lambda (E,) of each operation by name."""
        one = tf.ones([layer.edges])
        d3_first, d3_second, d3_dilated = take("depthwise_3x3", 3)
        d5_first, d5_second, d5_dilated = take("depthwise_5x5", 3)
        p3_first, p5_first, p3_dilated, p5_dilated, p3_second, p5_second = take("pointwise", 6)
        constants = {
            "none": 0 * one,
            "max_pool_3x3": one,
            "avg_pool_3x3": one * layer.stride**-0.5,
            "skip_connect": one,
            "sep_conv_3x3": d3_first * p3_first * d3_second * p3_second,
            "sep_conv_5x5": d5_first * p5_first * d5_second * p5_second,
            "dil_conv_3x3": d3_dilated * p3_dilated,
            "dil_conv_5x5": d5_dilated * p5_dilated,
        }
        if layer.stride == 2:
            (even,), (odd,) = take("skip_even", 1), take("skip_odd", 1)
            constants["skip_connect"] = tf.maximum(even, odd)
        if self.batch_norm:
            for name, factor in _normalisation_factors(layer).items():
                constants[name] *= factor
        return constants


def _sources(supernet: Supernet) -> list[tuple[int, int, MixedEdges]]:
    return [(k, source, layer) for k, cell in enumerate(supernet.cells) for source, layer in enumerate(cell.sources)]


def _stacks(supernet: Supernet) -> dict[str, tf.Tensor]:
    """Returns all matrices (n, rows, columns), stacked by kind of kernel and number of channels."""
    groups: dict[str, list[tf.Tensor]] = {}
    for _, _, layer in _sources(supernet):
        for kind, matrices in layer.convolution_matrices().items():
            flat = tf.reshape(matrices, [-1, *matrices.shape[-2:]])
            groups.setdefault(f"{kind}_{layer.mixed}", []).append(flat)
    return {name: tf.concat(stack, 0) for name, stack in groups.items()}


def _normalisation_factors(layer: MixedEdges) -> dict[str, tf.Tensor]:
    """Returns the product (E,) or () of 1 / sqrt(moving variance), its largest channel's, for each operation."""

    def largest(norm: BatchNorm, *shape: int) -> list[tf.Tensor]:
        factors = tf.math.rsqrt(norm.moving_variance + EPSILON)
        return tf.unstack(tf.reduce_max(tf.reshape(factors, [*shape, layer.mixed]), -1))

    s3, s5, d3, d5 = largest(layer.first_norm, 4, layer.edges)
    t3, t5 = largest(layer.second_norm, 2, layer.edges)
    maximum, average = largest(layer.pool_norm, 2)
    factors = {
        "max_pool_3x3": maximum,
        "avg_pool_3x3": average,
        "sep_conv_3x3": s3 * t3,
        "sep_conv_5x5": s5 * t5,
        "dil_conv_3x3": d3,
        "dil_conv_5x5": d5,
    }
    if layer.stride == 2:
        (factors["skip_connect"],) = largest(layer.skip_norm, 1, layer.edges)
    return factors
