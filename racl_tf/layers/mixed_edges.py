"""All mixed operations on the edges that leave one node of the supernet's cell, computed together."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.batch_norm import StackedNorms
from racl_tf.layers.initializers import uniform
from racl_tf.layers.mixed_operations import BLOCKS, DEPTHWISE, LAST, LEVELS, NORMALIZATIONS, POOLED_MAPS, SKIP
from racl_tf.layers.pool import POOLS
from racl_tf.seeding import derive
from racl_tf.space import OPERATIONS


@keras.saving.register_keras_serializable("racl_tf")
class MixedEdges(keras.layers.Layer):
    r"""Applies `beta * sum_o alpha_o * o(x)` (Eq. 5) for every edge that leaves one node.

    All edges that leave a node see the same input. So an operation is computed once for all of
    them, on a copy of the input for each edge, and ReLU and pools only once. Every candidate
    but skip and zero ends in a batch normalisation without scale, which takes `beta * alpha_o`
    as its scale; what is the same map for all edges (pools, skip) is weighted and summed by one 1x1 convolution.

    With partial channels only the first `channels / partial` go through the mixture, the others bypass it
    (halved by a 2x2 max pool at stride 2) and are weighted by beta alone.

    Channels of what is computed for all edges come edge by edge. Variables are few, which keeps graphs small:
    equal kernels of all blocks are one variable, and so are the moving means of all normalisations, in the order of
    `NORMALIZATIONS`: of the blocks, the max pool, the average pool and, at stride 2, the skip.

    What is computed is derived from `OPERATION_LAYERS`: another pool or separable convolution among `OPERATIONS` is
    part of the mixture by itself. Another kind of operation has to be computed here, for all edges at once, and gets a
    norm in `racl_tf.lipschitz.OperationNorms` and a bound in `racl_tf/lipschitz/operation_bounds.py`.

    Arguments:
        channels: of the input and of each edge's output.
        edges: the number of edges E.
        stride: 1, or 2 on the edges that leave a reduction cell's inputs.
        partial: the divisor k of partial channels, 1 for none.
        seed: of the initial kernels.
    """

    def __init__(
        self, channels: int, edges: int, *, stride: int = 1, partial: int = 4, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # alpha and beta stay float32 under a mixed policy
        self.channels = channels
        self.edges = edges
        self.stride = stride
        self.partial = partial
        self.seed = seed
        self.mixed = channels // partial
        self.normalizations = tuple(norm for norm in NORMALIZATIONS if stride == 2 or not norm.at_stride_2_only)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        width = self.edges * self.mixed

        def kernels(name: str, shape: tuple[int, ...], fan_in: int) -> keras.Variable:
            return self.add_weight(shape, uniform(fan_in, derive(self.seed, name)), name=name)

        counts = Counter(block.kernel_size for block in BLOCKS)
        self.depthwise = [
            kernels(name, (counts[size], size, size, width, 1), size * size) for name, size in DEPTHWISE.items()
        ]
        self.pointwise = kernels("pointwise", (len(BLOCKS), 1, 1, self.mixed, width), self.mixed)
        if self.stride == 2:
            self.skip = kernels("skip", (1, 1, self.mixed, width), self.mixed)
        self.norm_channels = [self.mixed if norm.shared else width for norm in self.normalizations]
        statistics: dict[str, Any] = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        shape = (sum(self.norm_channels),)
        self.moving_mean = self.add_weight(shape, "zeros", name="moving_mean", **statistics)
        self.moving_variance = self.add_weight(shape, "ones", name="moving_variance", **statistics)
        self.built = True

    def call(
        self, inputs: tf.Tensor, alpha: tf.Tensor, beta: tf.Tensor, training: bool = False
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns the mixture (batch, h, w, channels / partial) and the bypass (batch, h, w, the rest) of each edge.

        Arguments:
            inputs: the node's output (batch, height, width, channels).
            alpha: (8, E), float32, the weights of the operations.
            beta: (E,), float32, the weights of the edges.
            training: whether normalisation uses and updates the batch's statistics.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        scales = self._scales(alpha * beta)
        norms = StackedNorms((self.moving_mean, self.moving_variance), self.norm_channels, training=training)
        mixed, bypassed = tf.split(inputs, [self.mixed, self.channels - self.mixed], -1)
        activated = tf.nn.relu(mixed)
        others = {pooled.norm.index: POOLS[pooled.kind].apply(mixed, self.stride) for pooled in POOLED_MAPS}
        if self.stride == 2:
            others[SKIP.index] = self._factorized_reduction(activated)
        repeated = functional.repeat_channels(activated, self.edges)
        normalized = self._normalized(repeated, norms, scales, others=others)
        norms.update()
        terms = [normalized[index] for index in LAST.values()]
        maps = {pooled.operation: normalized[pooled.norm.index] for pooled in POOLED_MAPS}
        if self.stride == 1:
            maps[SKIP.operation] = mixed
        else:
            terms.append(normalized[SKIP.index])
        terms.append(self._weighted_sums(maps, scales))
        mixtures = tf.split(tf.add_n(terms), self.edges, -1)
        if self.partial == 1:
            return mixtures, []
        if self.stride == 2:
            bypassed = functional.halve(bypassed)
        return mixtures, [bypassed * scale for scale in tf.unstack(tf.cast(beta, bypassed.dtype))]

    def _scales(self, weights: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns each operation's weights of the edges (E,) for all their channels (E * mixed,)."""
        channels = np.kron(np.eye(self.edges), np.ones(self.mixed))
        return dict(zip(OPERATIONS, tf.unstack(tf.matmul(weights, tf.constant(channels, tf.float32))), strict=True))

    def edge(self, index: int) -> "MixedEdges":
        """Returns a layer of one of the edges alone, with copies of its weights and statistics."""
        layer = MixedEdges(self.channels, 1, stride=self.stride, partial=self.partial, dtype=self.dtype_policy)
        layer.build((None, None, None, self.channels))
        own = slice(index * self.mixed, (index + 1) * self.mixed)
        for mine, its in zip(self.depthwise, layer.depthwise, strict=True):
            its.assign(mine[..., own, :])
        layer.pointwise.assign(self.pointwise[..., own])
        if self.stride == 2:
            layer.skip.assign(self.skip[..., own])
        for mine, its in ((self.moving_mean, layer.moving_mean), (self.moving_variance, layer.moving_variance)):
            parts = zip(self.normalizations, tf.split(tf.convert_to_tensor(mine), self.norm_channels), strict=True)
            its.assign(tf.concat([part if norm.shared else part[own] for norm, part in parts], 0))
        return layer

    def operation(self, operation: str, inputs: tf.Tensor) -> tf.Tensor:
        """Returns what one operation alone, unweighted, makes of the channels that are mixed, at inference.

        Arguments:
            operation: of `OPERATIONS`, but zero.
            inputs: (batch, height, width, channels / partial).

        Returns:
            For every edge, side by side (batch, h, w, E * channels / partial).
        """
        norms = StackedNorms((self.moving_mean, self.moving_variance), self.norm_channels, training=False)
        if operation in LAST:
            repeated = functional.repeat_channels(tf.nn.relu(inputs), self.edges)
            return self._normalized(repeated, norms, only=operation)[LAST[operation]]
        pools = {pooled.operation: pooled for pooled in POOLED_MAPS}
        if operation in pools:
            outputs = POOLS[pools[operation].kind].apply(inputs, self.stride)
            index = pools[operation].norm.index
            return tf.tile(norms({index: outputs})[index], [1, 1, 1, self.edges])
        if self.stride == 1:
            return tf.tile(inputs, [1, 1, 1, self.edges])
        return norms({SKIP.index: self._factorized_reduction(tf.nn.relu(inputs))})[SKIP.index]

    def _normalized(
        self,
        images: tf.Tensor,
        norms: StackedNorms,
        scales: Mapping[str, tf.Tensor] = MappingProxyType({}),
        *,
        others: Mapping[int, tf.Tensor] = MappingProxyType({}),
        only: str = "",
    ) -> dict[int, tf.Tensor]:
        """Returns what each block makes of images, and other maps, normalised, by the index of the normalisation.

        What does not wait for each other is normalised together.

        Arguments:
            images: of every edge (batch, height, width, E * mixed); ReLU has been applied to them.
            norms: the normalisations.
            scales: the operations' weights (E * mixed,); 1 if not given.
            others: the other maps, which are normalised beside the first blocks.
            only: the operation whose blocks are computed; all if empty.
        """
        stacks = zip(DEPTHWISE.values(), self.depthwise, strict=True)
        depthwise = {size: tf.unstack(tf.cast(stack, self.compute_dtype)) for size, stack in stacks}
        pointwise = tf.unstack(functional.block_diagonal(tf.cast(self.pointwise, self.compute_dtype), self.edges))
        ends = {**LAST, SKIP.operation: SKIP.index}
        factors = {index: scales[operation] for operation, index in ends.items()} if scales else {}
        normalized: dict[int, tf.Tensor] = {}
        maps = dict(others)
        for level in LEVELS:
            for block in (block for block in level if only in ("", block.operation)):
                activated = images if block.first else tf.nn.relu(normalized[block.norm.index - 1])
                kernel = depthwise[block.kernel_size][block.index_in_stack]
                state = functional.depthwise(activated, kernel, self.stride if block.first else 1, block.dilation)
                maps[block.norm.index] = functional.grouped_pointwise(state, pointwise[block.index])
            normalized |= norms(maps, factors)
            maps = {}
        return normalized

    def _factorized_reduction(self, images: tf.Tensor) -> tf.Tensor:
        """Returns every edge's skip at stride 2 (batch, h, w, E * mixed): half of its channels from odd pixels."""
        pixels = tf.concat([functional.subsample(images, 2), functional.odd_pixels(images)], -1)
        odd = np.arange(self.mixed) >= self.mixed // 2
        taken = tf.constant(np.tile([~odd, odd], self.edges)[:, None], self.compute_dtype)
        return functional.convolution(pixels, functional.side_by_side(tf.cast(self.skip, taken.dtype), taken))

    def _weighted_sums(self, maps: dict[str, tf.Tensor], scales: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the sum of the maps with their weights for every edge, edge by edge (batch, h, w, E * mixed)."""
        weights = tf.cast(tf.stack([scales[operation] for operation in maps]), self.compute_dtype)
        copies = tf.constant(np.tile(np.eye(self.mixed), self.edges)[None, None], weights.dtype)
        kernel = functional.side_by_side(copies, tf.expand_dims(weights, 1))
        return functional.convolution(tf.concat(list(maps.values()), -1), kernel)

    def matrices(self) -> dict[str, tf.Tensor]:
        """Returns the kernels of each kind as matrices (blocks, rows, E, columns), float32, all edges side by side.

        A depthwise kernel has a row for each position in the window and a column for each channel, a pointwise one
        a row for each input and a column for each output. The skip at stride 2 has two, of the even and the odd pixels.
        """
        variables = {**dict(zip(DEPTHWISE, self.depthwise, strict=True)), "pointwise": self.pointwise}
        shaped = {
            name: tf.reshape(tf.convert_to_tensor(kernels), [kernels.shape[0], -1, self.edges, self.mixed])
            for name, kernels in variables.items()
        }
        if self.stride == 1:
            return shaped
        skip = tf.reshape(tf.convert_to_tensor(self.skip), [1, -1, self.edges, self.mixed])
        even, odd = tf.split(skip, [self.mixed // 2, self.mixed - self.mixed // 2], -1)
        return shaped | {"skip_even": even, "skip_odd": odd}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "edges": self.edges,
            "stride": self.stride,
            "partial": self.partial,
            "seed": self.seed,
        }
