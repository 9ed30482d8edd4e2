"""All mixed operations on the edges that leave one node of the supernet's cell, computed together."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.operations import SeparableConv, uniform
from racl_tf.random import derive
from racl_tf.space import OPERATIONS

#: Depthwise kernel size, dilation and number of blocks of the operations that have convolutions.
_CONVOLUTIONS = {
    "sep_conv_3x3": (3, 1, 2),
    "sep_conv_5x5": (5, 1, 2),
    "dil_conv_3x3": (3, 2, 1),
    "dil_conv_5x5": (5, 2, 1),
}


@keras.saving.register_keras_serializable("racl_tf")
class MixedEdges(keras.layers.Layer):
    r"""Applies `beta * sum_o alpha_o * o(x)` (Eq. 5) for every edge that leaves one node.

    All edges that leave a node see the same input. So an operation is one layer for all of
    them, on a copy of the input for each edge, and ReLU and pools are computed once. Every
    candidate but skip and zero ends in a batch normalisation without scale, which takes
    `beta * alpha_o` as its scale; what is the same map for all edges (pools, skip) is weighted and
    summed by one 1x1 convolution.

    With partial channels only the first `channels / partial` go through the mixture, the others bypass it
    (halved by a 2x2 max pool at stride 2) and are weighted by beta alone.

    Channels of what is computed for all edges come edge by edge.

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
        self.convolutions = {
            operation: SeparableConv(
                edges * self.mixed,
                size,
                stride=stride,
                dilation=dilation,
                blocks=blocks,
                groups=edges,
                activated=True,
                affine=False,
                seed=derive(seed, operation),
            )
            for operation, (size, dilation, blocks) in _CONVOLUTIONS.items()
        }
        self.max_pool_norm = BatchNorm(affine=False)
        self.average_pool_norm = BatchNorm(affine=False)
        if stride == 2:
            self.skip_norm = BatchNorm(affine=False)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        stacked = (*input_shape[:-1], self.edges * self.mixed)
        for layer in self.convolutions.values():
            layer.build(stacked)
        for norm in (self.max_pool_norm, self.average_pool_norm):
            norm.build((None, None, None, self.mixed))
        if self.stride == 2:
            halves = {"skip_even": self.mixed // 2, "skip_odd": self.mixed - self.mixed // 2}
            self.skip_even, self.skip_odd = (
                self.add_weight((self.mixed, self.edges, half), uniform(self.mixed, derive(self.seed, name)), name=name)
                for name, half in halves.items()
            )
            self.skip_norm.build(stacked)
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
        inputs = tf.cast(inputs, self.compute_dtype)
        scales = self._scales(alpha * beta[:, None])
        mixed, bypassed = tf.split(inputs, [self.mixed, self.channels - self.mixed], -1)
        activated = tf.nn.relu(mixed)
        repeated = functional.repeat_channels(activated, self.edges)
        terms = [
            layer(repeated, training=training, scale=scales[operation])
            for operation, layer in self.convolutions.items()
        ]
        maps = {
            "max_pool_3x3": self.max_pool_norm(functional.max_pool(mixed, self.stride), training=training),
            "avg_pool_3x3": self.average_pool_norm(functional.average_pool(mixed, self.stride), training=training),
        }
        if self.stride == 1:
            maps["skip_connect"] = mixed
        else:
            terms.append(self._factorized_reduction(activated, scales["skip_connect"], training))
        terms.append(self._weighted_sums(maps, scales))
        mixtures = tf.split(tf.add_n(terms), self.edges, -1)
        if self.partial == 1:
            return mixtures, []
        if self.stride == 2:
            bypassed = functional.halve(bypassed)
        return mixtures, [bypassed * scale for scale in tf.unstack(tf.cast(beta, bypassed.dtype))]

    def _scales(self, weights: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the weight (E, 8) of each operation for all channels of all edges (E * mixed,)."""
        columns = tf.tile(tf.transpose(weights)[:, :, None], [1, 1, self.mixed])
        return dict(zip(OPERATIONS, tf.unstack(tf.reshape(columns, [len(OPERATIONS), -1])), strict=True))

    def _factorized_reduction(self, images: tf.Tensor, scale: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns the weighted skip at stride 2 of every edge (batch, h, w, E * mixed)."""
        pixels = tf.concat([functional.subsample(images, 2), functional.odd_pixels(images)], -1)
        even, odd = (tf.cast(kernel, self.compute_dtype) for kernel in (self.skip_even, self.skip_odd))
        kernel = tf.concat(
            [tf.pad(even, [[0, 0], [0, 0], [0, odd.shape[-1]]]), tf.pad(odd, [[0, 0], [0, 0], [even.shape[-1], 0]])], 0
        )
        width = self.edges * self.mixed
        outputs = functional.convolution(pixels, tf.reshape(kernel, [1, 1, 2 * self.mixed, width]))
        return self.skip_norm(outputs, training=training, scale=scale)

    def _weighted_sums(self, maps: dict[str, tf.Tensor], scales: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the sum of the maps with their weights for every edge, edge by edge (batch, h, w, E * mixed)."""
        weights = tf.cast(tf.stack([scales[operation] for operation in maps]), self.compute_dtype)
        copies = tf.constant(np.tile(np.eye(self.mixed), self.edges), weights.dtype)
        kernel = tf.reshape(weights[:, None] * copies, [1, 1, len(maps) * self.mixed, -1])
        return functional.convolution(tf.concat(list(maps.values()), -1), kernel)

    def convolution_matrices(self) -> dict[str, list[tf.Tensor]]:
        """Returns the kernels of each operation that has some as matrices, float32, all edges side by side.

        A separable or dilated convolution has, block by block, the depthwise one, (size * size, E, mixed): a row is
        a position in the window, a column a channel, and the pointwise one, (inputs, E, outputs). The skip
        at stride 2 has that of the even and that of the odd pixels, (mixed, E, half of mixed).
        """
        matrices = {
            operation: [
                tf.reshape(tf.convert_to_tensor(kernel), [-1, self.edges, self.mixed])
                for pair in zip(layer.depthwise, layer.pointwise, strict=True)
                for kernel in pair
            ]
            for operation, layer in self.convolutions.items()
        }
        if self.stride == 2:
            matrices["skip_connect"] = [tf.convert_to_tensor(kernel) for kernel in (self.skip_even, self.skip_odd)]
        return matrices

    def normalisations(self) -> dict[str, list[BatchNorm]]:
        """Returns the batch normalisations of each operation that has some, those of pools shared by all edges."""
        norms = {operation: list(layer.norms) for operation, layer in self.convolutions.items()}
        norms |= {"max_pool_3x3": [self.max_pool_norm], "avg_pool_3x3": [self.average_pool_norm]}
        return norms | ({"skip_connect": [self.skip_norm]} if self.stride == 2 else {})

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "edges": self.edges,
            "stride": self.stride,
            "partial": self.partial,
            "seed": self.seed,
        }
