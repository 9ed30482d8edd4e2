"""The cell of a genotype."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.layers.batch_norm import Affine
from racl_tf.layers.factorized_reduction import FactorizedReduction
from racl_tf.layers.identity import Identity
from racl_tf.layers.operation import Operation
from racl_tf.layers.operations import OPERATION_LAYERS
from racl_tf.layers.relu_conv_bn import ReLUConvBN
from racl_tf.seeding import derive
from racl_tf.space import INPUTS, Cell

Shape = tuple[Any, ...]


def preprocess(filters: int, *, reduce: bool, affine: Affine, seed: int, dtype: Any) -> Operation:
    """Returns the layer that brings a cell's input to its channels, and to its size where it was not reduced before."""
    layer = FactorizedReduction if reduce else ReLUConvBN
    return layer(filters, affine=affine, seed=seed, dtype=dtype)


@keras.saving.register_keras_serializable("racl_tf")
class GenotypeCell(keras.layers.Layer):
    """Computes each node as the sum of its operations and concatenates some of the nodes.

    Arguments:
        cell: the graph, a `Cell` (or its nodes and concat as saved by `get_config`).
        channels: of every node.
        reduction: whether operations on the two inputs have stride 2.
        reduction_before: whether the first input has twice the size of the second.
        affine: whether normalisations have a scale and offset (see `BatchNorm`).
        seed: of the initial kernels.
    """

    def __init__(
        self,
        cell: Cell | dict[str, Any],
        channels: int,
        *,
        reduction: bool = False,
        reduction_before: bool = False,
        affine: Affine = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cell = cell if isinstance(cell, Cell) else Cell(**cell)
        self.channels = channels
        self.reduction = reduction
        self.reduction_before = reduction_before
        self.affine = affine
        self.seed = seed
        self.preprocessing = [
            preprocess(channels, reduce=reduce, affine=affine, seed=derive(seed, name), dtype=self.dtype_policy)
            for name, reduce in (("input_0", reduction_before), ("input_1", False))
        ]
        self.edges = [edge for edges in self.cell.nodes for edge in edges]
        self.operations = [
            OPERATION_LAYERS[edge.operation](
                channels,
                stride=2 if reduction and edge.source < INPUTS else 1,
                affine=affine,
                seed=derive(seed, f"edge_{index}"),
                dtype=self.dtype_policy,
            )
            for index, edge in enumerate(self.edges)
        ]

    def build(self, input_shape: list[Shape]) -> None:
        states = [
            layer.compute_output_shape(shape) for layer, shape in zip(self.preprocessing, input_shape, strict=True)
        ]
        for layer, shape in zip(self.preprocessing, input_shape, strict=True):
            layer.build(shape)
        operations = iter(self.operations)
        for edges in self.cell.nodes:
            shapes = []
            for edge in edges:
                operation = next(operations)
                operation.build(states[edge.source])
                shapes.append(operation.compute_output_shape(states[edge.source]))
            states.append(shapes[0])
        self.built = True

    def call(self, inputs: list[tf.Tensor], keep: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """Returns the cell's output (batch, height, width, len(concat) * channels).

        Arguments:
            inputs: the outputs of the cell before the previous one and of the previous one.
            keep: drop path: for each edge the factor of its output (edges, batch, 1, 1, 1); identities are never
                dropped.
            training: whether normalisation uses and updates the batch's statistics.
        """
        states = [layer(state, training=training) for layer, state in zip(self.preprocessing, inputs, strict=True)]
        index = 0
        for edges in self.cell.nodes:
            terms = []
            for edge in edges:
                operation = self.operations[index]
                term = operation(states[edge.source], training=training)
                if keep is not None and not isinstance(operation, Identity):
                    term = term * tf.cast(keep[index], term.dtype)
                terms.append(term)
                index += 1
            states.append(tf.add_n(terms))
        return tf.concat([states[node] for node in self.cell.concat], -1)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        batch, height, width, _ = input_shape[1]
        stride = 2 if self.reduction else 1
        return batch, -(-height // stride), -(-width // stride), self.channels * len(self.cell.concat)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cell": {
                "nodes": [[list(edge) for edge in edges] for edges in self.cell.nodes],
                "concat": self.cell.concat,
            },
            "channels": self.channels,
            "reduction": self.reduction,
            "reduction_before": self.reduction_before,
            "affine": self.affine,
            "seed": self.seed,
        }
