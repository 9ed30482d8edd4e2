"""The cell of the supernet, in which every edge is a mixture of all operations."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.layers import functional
from racl_tf.layers.genotype_cell import Shape, preprocess
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.seeding import derive
from racl_tf.space import EDGES, INPUTS, NODES, edges_from

#: The edges that leave each node.
LEAVING = [edges_from(source) for source in range(INPUTS + NODES - 1)]


@keras.saving.register_keras_serializable("racl_tf")
class MixedCell(keras.layers.Layer):
    """Computes every node as the weighted sum of mixtures of all earlier nodes (Eq. 5), grouped by source.

    Arguments:
        channels: of every node, divisible by `partial`.
        reduction: whether edges from the two inputs have stride 2.
        reduction_before: whether the first input has twice the size of the second.
        partial: the divisor k of partial channels.
        seed: of the initial kernels.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: bool = False,
        reduction_before: bool = False,
        partial: int = 4,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # alpha and beta stay float32 under a mixed policy
        self.channels = channels
        self.reduction = reduction
        self.reduction_before = reduction_before
        self.partial = partial
        self.seed = seed
        self.preprocessing = [
            preprocess(channels, reduce=reduce, affine=False, seed=derive(seed, name), dtype=self.dtype_policy)
            for name, reduce in (("input_0", reduction_before), ("input_1", False))
        ]
        self.sources = [
            MixedEdges(
                channels,
                len(edges),
                stride=2 if reduction and source < INPUTS else 1,
                partial=partial,
                seed=derive(seed, f"source_{source}"),
                dtype=self.dtype_policy,
            )
            for source, edges in enumerate(LEAVING)
        ]

    def build(self, input_shape: list[Shape]) -> None:
        for layer, shape in zip(self.preprocessing, input_shape, strict=True):
            layer.build(shape)
        for source in self.sources:
            source.build((None, None, None, self.channels))
        self.built = True

    def call(self, inputs: list[tf.Tensor], alpha: tf.Tensor, beta: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the concatenated intermediate nodes (batch, height, width, 4 * channels); see `states`."""
        return tf.concat(self.states(inputs, alpha, beta, training=training)[INPUTS:], -1)

    def states(
        self, inputs: Sequence[tf.Tensor], alpha: tf.Tensor, beta: tf.Tensor, training: bool = False
    ) -> list[tf.Tensor]:
        """Returns what every node holds (batch, height, width, channels), the two preprocessed inputs first.

        Arguments:
            inputs: the outputs of the cell before the previous one and of the previous one.
            alpha: (14, 8), float32, by edge as in `EDGES` and operation as in `OPERATIONS`.
            beta: (14,), float32.
            training: whether normalisation uses and updates the batch's statistics.
        """
        states = [layer(state, training=training) for layer, state in zip(self.preprocessing, inputs, strict=True)]
        mixtures: list[list[tf.Tensor]] = [[] for _ in range(NODES)]
        bypasses: list[list[tf.Tensor]] = [[] for _ in range(NODES)]
        by_source = np.concatenate(LEAVING)
        leaving = [len(edges) for edges in LEAVING]
        alphas = tf.split(tf.gather(tf.transpose(alpha), by_source, axis=1), leaving, 1)
        betas = tf.split(tf.gather(beta, by_source), leaving)
        for source, layer in enumerate(self.sources):
            if source >= INPUTS:
                node = source - INPUTS
                states.append(self._node(mixtures[node], bypasses[node]))
            outputs = layer(states[source], alphas[source], betas[source], training=training)
            for terms, values in zip((mixtures, bypasses), outputs, strict=True):
                for edge, value in zip(LEAVING[source], values, strict=bool(values)):
                    terms[EDGES[edge][1] - INPUTS].append(value)
        return [*states, self._node(mixtures[-1], bypasses[-1])]

    def _node(self, mixtures: list[tf.Tensor], bypasses: list[tf.Tensor]) -> tf.Tensor:
        parts = [tf.add_n(terms) for terms in (mixtures, bypasses) if terms]
        return functional.shuffle_channels(tf.concat(parts, -1), self.partial)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        batch, height, width, _ = input_shape[1]
        stride = 2 if self.reduction else 1
        return batch, -(-height // stride), -(-width // stride), NODES * self.channels

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "reduction": self.reduction,
            "reduction_before": self.reduction_before,
            "partial": self.partial,
            "seed": self.seed,
        }
