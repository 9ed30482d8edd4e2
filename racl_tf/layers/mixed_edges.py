"""All mixed operations on the edges that leave one node of the supernet's cell, computed together."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.operations import uniform
from racl_tf.random import derive
from racl_tf.space import OPERATIONS

_INDEX = {operation: index for index, operation in enumerate(OPERATIONS)}
#: The depthwise convolutions applied to the source itself, in the order of the stacked pointwise groups.
_FIRST = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
_DILATED = ("dil_conv_3x3", "dil_conv_5x5")
#: The operations with a second depthwise and pointwise convolution.
_SECOND = ("sep_conv_3x3", "sep_conv_5x5")


def _size(operation: str) -> int:
    return int(operation[-1])


@keras.saving.register_keras_serializable("racl_tf")
class MixedEdges(keras.layers.Layer):
    r"""Applies `beta * sum_o alpha_o * o(x)` (Eq. 5) for every edge that leaves one node.

    All edges that leave a node see the same input, so their depthwise convolutions are one,
    their 1x1 convolutions are one grouped convolution, their normalisations are one call,
    and ReLU and pools are computed once. Every candidate but skip and zero ends in a batch
    normalisation without scale, which takes `beta * alpha_o` as its scale; what has no
    kernel of its own (pools, skip, bypass) is weighted and summed by one 1x1 convolution.

    With partial channels only the first `channels / partial` go through the mixture, the others bypass it
    (halved by a 2x2 max pool at stride 2) and are weighted by beta alone.

    Channels of stacked tensors come operation by operation, then edge by edge.

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
        self.first_norm = BatchNorm(affine=False)
        self.second_norm = BatchNorm(affine=False)
        self.pool_norm = BatchNorm(affine=False)
        if stride == 2:
            self.skip_norm = BatchNorm(affine=False)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        width = self.edges * self.mixed

        def kernel(name: str, fan_in: int, *shape: int) -> keras.Variable:
            return self.add_weight(shape, uniform(fan_in, derive(self.seed, name)), name=name)

        def depthwise(operation: str, position: str) -> keras.Variable:
            size = _size(operation)
            return kernel(f"{operation}_{position}", size * size, size, size, width, 1)

        self.first_depthwise = [depthwise(operation, "first") for operation in _FIRST]
        self.second_depthwise = [depthwise(operation, "second") for operation in _SECOND]
        self.first_pointwise = kernel("first_pointwise", self.mixed, 1, 1, self.mixed, len(_FIRST) * width)
        self.second_pointwise = kernel("second_pointwise", self.mixed, 1, 1, self.mixed, len(_SECOND) * width)
        self.first_norm.build((None, None, None, len(_FIRST) * width))
        self.second_norm.build((None, None, None, len(_SECOND) * width))
        self.pool_norm.build((None, None, None, 2 * self.mixed))
        if self.stride == 2:
            even = self.mixed // 2
            self.skip_even = kernel("skip_even", self.mixed, self.mixed, self.edges, even)
            self.skip_odd = kernel("skip_odd", self.mixed, self.mixed, self.edges, self.mixed - even)
            self.skip_norm.build((None, None, None, width))
        self.built = True

    def call(
        self, inputs: tf.Tensor, alpha: tf.Tensor, beta: tf.Tensor, training: bool = False
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns the mixture (batch, h, w, channels / partial) and the bypass (batch, h, w, the rest) of each edge.

        Arguments:
            inputs: the node's output (batch, height, width, channels).
            alpha: (E, 8), float32, the weights of the operations.
            beta: (E,), float32, the weights of the edges.
            training: whether normalisation uses and updates the batch's statistics.
        """
        inputs = self._compute(inputs)
        weights = alpha * beta[:, None]
        mixed, bypassed = inputs[..., : self.mixed], inputs[..., self.mixed :]
        terms = self._convolutions(tf.nn.relu(mixed), weights, training)
        pools = [functional.max_pool(mixed, self.stride), functional.average_pool(mixed, self.stride)]
        maps = [self.pool_norm(tf.concat(pools, -1), training=training)]
        names = ["max_pool_3x3", "avg_pool_3x3"]
        if self.stride == 1:
            maps.append(mixed)
            names.append("skip_connect")
        else:
            terms.append(self._factorized_reduction(tf.nn.relu(mixed), weights, training))
        terms.append(
            _weighted_copies(tf.concat(maps, -1), tf.gather(weights, [_INDEX[name] for name in names], axis=1))
        )
        mixtures = tf.split(tf.add_n(terms), self.edges, -1)
        if self.partial == 1:
            return mixtures, []
        if self.stride == 2:
            bypassed = functional.halve(bypassed)
        return mixtures, tf.split(_weighted_copies(bypassed, beta[:, None]), self.edges, -1)

    def _convolutions(self, images: tf.Tensor, weights: tf.Tensor, training: bool) -> list[tf.Tensor]:
        """Returns the weighted separable and dilated convolutions of every edge (batch, h, w, E * mixed)."""
        repeated = tf.concat([images] * self.edges, -1)
        first = [
            functional.depthwise(repeated, self._compute(kernel), self.stride, 2 if name in _DILATED else 1)
            for name, kernel in zip(_FIRST, self.first_depthwise, strict=True)
        ]
        stacked = functional.convolution(tf.concat(first, -1), self._compute(self.first_pointwise))
        scale = tf.concat([tf.ones([len(_SECOND) * self.edges * self.mixed]), self._scale(weights, _DILATED)], 0)
        inner, dilated = tf.split(self.first_norm(stacked, training=training, scale=scale), 2, -1)
        second = [
            functional.depthwise(part, self._compute(kernel))
            for part, kernel in zip(tf.split(tf.nn.relu(inner), 2, -1), self.second_depthwise, strict=True)
        ]
        stacked = functional.convolution(tf.concat(second, -1), self._compute(self.second_pointwise))
        separable = self.second_norm(stacked, training=training, scale=self._scale(weights, _SECOND))
        return [*tf.split(dilated, 2, -1), *tf.split(separable, 2, -1)]

    def _factorized_reduction(self, images: tf.Tensor, weights: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns the weighted skip at stride 2 of every edge (batch, h, w, E * mixed)."""
        pixels = tf.concat([functional.subsample(images, 2), functional.odd_pixels(images)], -1)
        even, odd = self._compute(self.skip_even), self._compute(self.skip_odd)
        kernel = tf.concat(
            [tf.pad(even, [[0, 0], [0, 0], [0, odd.shape[-1]]]), tf.pad(odd, [[0, 0], [0, 0], [even.shape[-1], 0]])], 0
        )
        width = self.edges * self.mixed
        outputs = functional.convolution(pixels, tf.reshape(kernel, [1, 1, 2 * self.mixed, width]))
        return self.skip_norm(outputs, training=training, scale=self._scale(weights, ("skip_connect",)))

    def _compute(self, values: Any) -> tf.Tensor:
        return tf.cast(values, self.compute_dtype)

    def _scale(self, weights: tf.Tensor, operations: tuple[str, ...]) -> tf.Tensor:
        per_edge = tf.gather(weights, [_INDEX[operation] for operation in operations], axis=1)
        return tf.repeat(tf.reshape(tf.transpose(per_edge), [-1]), self.mixed)

    def convolution_matrices(self) -> dict[str, tf.Tensor]:
        """Returns the kernels as matrices (kinds, E, inputs, outputs), float32, for the measurement of norms.

        - `depthwise_3x3`, `depthwise_5x5`: (3, E, size * size, mixed): first and second of the separable
          convolution, then the dilated one; a row is a position in the window, a column a channel;
        - `pointwise`: (6, E, mixed, mixed): first of separable 3x3 and 5x5, of dilated 3x3 and 5x5, second of
          separable 3x3 and 5x5;
        - `skip_even`, `skip_odd`, at stride 2: (1, E, mixed, half of mixed).
        """
        groups = {}
        for size in (3, 5):
            pairs = zip((*_FIRST, *_SECOND), (*self.first_depthwise, *self.second_depthwise), strict=True)
            separable, dilated, second = (kernel for name, kernel in pairs if _size(name) == size)
            stacked = tf.stack([tf.convert_to_tensor(kernel)[..., 0] for kernel in (separable, second, dilated)])
            groups[f"depthwise_{size}x{size}"] = _split_edges(stacked, self.edges)
        pointwise = [tf.convert_to_tensor(kernel)[0, 0] for kernel in (self.first_pointwise, self.second_pointwise)]
        groups["pointwise"] = _split_edges(
            tf.stack(tf.split(tf.concat(pointwise, -1), len(_FIRST) + len(_SECOND), -1)), self.edges
        )
        if self.stride == 2:
            for name, kernel in (("skip_even", self.skip_even), ("skip_odd", self.skip_odd)):
                groups[name] = tf.transpose(tf.convert_to_tensor(kernel), [1, 0, 2])[None]
        return groups

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "edges": self.edges,
            "stride": self.stride,
            "partial": self.partial,
            "seed": self.seed,
        }


def _weighted_copies(maps: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns `sum_m weights[e, m] * maps[m]` of every edge e as one 1x1 convolution.

    Arguments:
        maps: (batch, h, w, M * n), map by map.
        weights: (E, M).

    Returns:
        (batch, h, w, E * n), edge by edge.
    """
    edges, count = weights.shape
    channels = maps.shape[-1] // count
    kernel = tf.einsum("em,cd->mced", tf.cast(weights, maps.dtype), tf.eye(channels, dtype=maps.dtype))
    return functional.convolution(maps, tf.reshape(kernel, [1, 1, count * channels, edges * channels]))


def _split_edges(stacked: tf.Tensor, edges: int) -> tf.Tensor:
    """Returns kernels (kinds, ..., E * n) as matrices (kinds, E, rows, n)."""
    matrices = tf.reshape(stacked, [stacked.shape[0], -1, edges, stacked.shape[-1] // edges])
    return tf.cast(tf.transpose(matrices, [0, 2, 1, 3]), tf.float32)
