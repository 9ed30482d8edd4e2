"""The Lipschitz constants lambda_o of a supernet's operations, tracked by power iteration."""

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from racl_tf.errors import unknown
from racl_tf.layers.batch_norm import EPSILON
from racl_tf.layers.mixed_operations import BLOCKS, DEPTHWISE, NORMALIZATIONS, POOLED_MAPS, SKIP
from racl_tf.layers.pool import POOLS
from racl_tf.layers.spectral import depthwise_operator_norm
from racl_tf.lipschitz.power_iteration import gain, leading_vectors, power_iteration
from racl_tf.networks.supernet import Supernet
from racl_tf.space import EDGES, INPUTS, NODES, OPERATIONS, edges_from

NORM_KINDS = ("matrix", "operator")
#: Where each edge stands when edges are listed source by source.
_BY_EDGE = np.argsort(np.concatenate([edges_from(source) for source in range(INPUTS + NODES - 1)]))


@keras.saving.register_keras_serializable("racl_tf")
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
        norm_kind: "matrix", the paper's: the norm of a kernel reshaped to (out, in * k * k); "operator": the
            norm of the convolution itself, for a depthwise kernel the largest magnitude of its frequency response.
        batch_norm: whether each normalisation's factor, the largest of 1 / sqrt(moving variance), is included.

    Raises:
        UsageError: the kind of norm is unknown.

    Differences from the paper:
        An overlapping max pool's constant is up to 3, not 1; the paper's 1 is kept. `batch_norm` is not in the paper.
    """

    def __init__(
        self, supernet: Supernet, *, norm_kind: str = "matrix", batch_norm: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if norm_kind not in NORM_KINDS:
            raise unknown("kind of an operation's norm", norm_kind, NORM_KINDS)
        self.supernet = supernet
        self.norm_kind = norm_kind
        self.batch_norm = batch_norm
        self._vectors = {
            name: self.add_weight(
                (*stack.shape[:2], stack.shape[-1]),
                lambda *_, start=leading_vectors(stack.numpy()), **__: start,  # noqa: B008
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=f"vectors_{name}",
            )
            for kind, stacks in _stacks(supernet).items()
            for name, stack in stacks.items()
            if not self._is_exact(kind)
        }
        self.built = True

    def _is_exact(self, kind: str) -> bool:
        return self.norm_kind == "operator" and kind in DEPTHWISE

    def measure(self, *, keep: bool = True) -> tf.Tensor:
        """Takes one step of power iteration and returns ln(lambda_o) (Section 2.2), (cells, 14, 8), -inf for zero.

        Arguments:
            keep: whether the next measurement goes on from this step, as those of a training have to.
        """
        supernet = self.supernet
        norms = {
            kind: tf.concat([self._norms(kind, name, stack, keep=keep) for name, stack in stacks.items()], 1)
            for kind, stacks in _stacks(supernet).items()
        }
        factors = tf.concat([norms[kind] for kind in DEPTHWISE], 0) * norms["pointwise"]
        strides = np.array(
            [layer.stride for cell in supernet.cells for layer in cell.sources for _ in range(layer.edges)]
        )
        strided = tf.constant(np.flatnonzero(strides == 2)[:, None])
        skips = tf.maximum(norms["skip_even"], norms["skip_odd"])[0]
        constants = {
            "none": tf.zeros(strides.shape),
            **{pooled.operation: tf.constant(POOLS[pooled.kind].norm(strides), tf.float32) for pooled in POOLED_MAPS},
            SKIP.operation: tf.tensor_scatter_nd_update(tf.ones(strides.shape), strided, skips),
        }
        for block, factor in zip(BLOCKS, tf.unstack(factors), strict=True):
            constants[block.operation] = factor if block.first else constants[block.operation] * factor
        if self.batch_norm:
            for norm, factor in zip(NORMALIZATIONS, tf.unstack(_normalizations(supernet)), strict=True):
                constants[norm.operation] *= factor
        by_source = tf.stack([constants[operation] for operation in OPERATIONS], -1)
        by_cell = tf.reshape(by_source, [len(supernet.cells), len(EDGES), len(OPERATIONS)])
        return tf.stop_gradient(tf.math.log(tf.gather(by_cell, _BY_EDGE, axis=1)))

    def _norms(self, kind: str, name: str, stack: tf.Tensor, *, keep: bool) -> tf.Tensor:
        """Returns the norms (blocks, n) of matrices (blocks, n, rows, columns), after a step of power iteration."""
        if self._is_exact(kind):
            return depthwise_operator_norm(stack, DEPTHWISE[kind])
        vectors = power_iteration(stack, tf.convert_to_tensor(self._vectors[name]))
        if keep:
            self._vectors[name].assign(vectors)
        return gain(stack, vectors)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "supernet": keras.saving.serialize_keras_object(self.supernet),
            "norm_kind": self.norm_kind,
            "batch_norm": self.batch_norm,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{**config, "supernet": keras.saving.deserialize_keras_object(config["supernet"])})


def _stacks(supernet: Supernet) -> dict[str, dict[str, tf.Tensor]]:
    """Returns the matrices (blocks, n, rows, columns) of each kind, and of each size of them by a name.

    They are stacked edge by edge, source by source and cell by cell: sizes only grow with the depth.
    """
    matrices: dict[str, dict[str, list[tf.Tensor]]] = {}
    for cell in supernet.cells:
        for layer in cell.sources:
            for kind, kernels in layer.matrices().items():
                name = f"{kind}_{layer.mixed}"
                matrices.setdefault(kind, {}).setdefault(name, []).append(kernels)
    return {
        kind: {name: tf.transpose(tf.concat(kernels, 2), [0, 2, 1, 3]) for name, kernels in sizes.items()}
        for kind, sizes in matrices.items()
    }


def _normalizations(supernet: Supernet) -> tf.Tensor:
    """Returns the factors (9, n) of `NORMALIZATIONS`, the largest 1 / sqrt(moving variance), edges as in `_stacks`.

    All are found at once from all variances side by side, which keeps graphs small.
    """
    layers = [layer for cell in supernet.cells for layer in cell.sources]
    group_of_channel: list[int] = []  # a group for each normalisation of each edge, or of all
    group_of_factor = []
    groups = 0
    for layer in layers:
        rows = {}
        for norm, channels in zip(layer.normalizations, layer.norm_channels, strict=True):
            count = channels // layer.mixed
            group_of_channel += np.repeat(np.arange(groups, groups + count), layer.mixed).tolist()
            rows[norm] = np.broadcast_to(np.arange(groups, groups + count), layer.edges)
            groups += count
        group_of_factor.append([rows.get(norm, np.full(layer.edges, -1)) for norm in NORMALIZATIONS])
    variances = tf.concat([tf.convert_to_tensor(layer.moving_variance) for layer in layers], 0)
    largest = tf.math.unsorted_segment_max(tf.math.rsqrt(variances + EPSILON), group_of_channel, groups)
    of_none = tf.ones([1])  # where there is no such normalisation, at index -1
    taken = np.concatenate(group_of_factor, 1)
    return tf.gather(tf.concat([largest, of_none], 0), np.where(taken < 0, groups, taken))
