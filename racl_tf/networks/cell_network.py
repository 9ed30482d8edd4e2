"""What every network stacked from cells shares: stem, the plan of the cells, head."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from racl_tf.errors import UsageError, check_positive
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.functional import convolution
from racl_tf.layers.initializers import uniform
from racl_tf.layers.recomputed import recomputed
from racl_tf.networks.image_network import ImageNetwork, dense_head
from racl_tf.seeding import derive

STEM_MULTIPLIER = 3


def reductions(cells: int) -> set[int]:
    """Returns the indices of the reduction cells among so many: those at a third and two thirds of the depth."""
    return {cells // 3, 2 * cells // 3}


def check_image_size(input_shape: tuple[int, int, int], cells: int) -> None:
    """Checks that images are large enough to be halved by every reduction cell.

    Raises:
        UsageError: they are not.
    """
    least = 2 ** len(reductions(cells))
    if min(input_shape[:2]) < least:
        raise UsageError(
            f"A network of {cells} cells halves images {len(reductions(cells))} times, so they must be at least "
            f"{least} pixels high and wide. Received: input_shape={tuple(input_shape)!r}."
        )


class CellPlan(NamedTuple):
    """What distinguishes one cell of a network from another."""

    channels: int
    reduction: bool
    reduction_before: bool
    seed: int


@keras.saving.register_keras_serializable("racl_tf")
class Stem(keras.layers.Layer):
    """A 3x3 convolution and batch normalisation, without ReLU."""

    def __init__(self, filters: int, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.seed = seed
        self.norm = BatchNorm(dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, uniform(9 * input_shape[-1], self.seed), name="kernel")
        self.norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.norm(convolution(inputs, tf.convert_to_tensor(self.kernel)), training=training)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "seed": self.seed}


class CellNetwork(ImageNetwork):
    """An image classifier stacked from cells: a stem, the cells, global average pooling, logits.

    The cells at a third and two thirds of the depth halve the image and double the channels.
    Subclasses make the cells (`make_cell`) and say what they do with them (`call`).

    With `recompute`, which is set on a network and not saved with it, a backward pass computes each cell again rather
    than keeping all that is inside: for a forward pass more it takes the memory of one cell, and of each one's output.
    """

    recompute = False

    def __init__(
        self,
        spec: ImageSpec | int | None = None,
        *,
        channels: int,
        cells: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, **kwargs)
        check_positive(channels=channels, cells=cells)
        check_image_size(self.image_shape, cells)
        self.channels = channels
        self.stem = Stem(STEM_MULTIPLIER * channels, seed=derive(self.seed, "stem"), dtype=self.dtype_policy)
        image = (None, *self.image_shape)
        self.stem.build(image)
        shapes = [self.stem.compute_output_shape(image)] * 2
        self.cells = []
        self.cell_shapes = []
        reduction_before = False
        for index in range(cells):
            reduction = index in reductions(cells)
            channels *= 2 if reduction else 1
            cell = self.make_cell(CellPlan(channels, reduction, reduction_before, derive(self.seed, f"cell_{index}")))
            cell.build(shapes)
            shapes = [shapes[1], cell.compute_output_shape(shapes)]
            self.cells.append(cell)
            self.cell_shapes.append(shapes[1])
            reduction_before = reduction
        self.head = dense_head(self.num_classes, shapes[1][-1], seed=derive(self.seed, "head"), dtype=self.dtype_policy)
        self.built = True

    def make_cell(self, plan: CellPlan) -> keras.layers.Layer:
        """Returns the layer of one cell; called in the constructor, in order."""
        raise NotImplementedError

    def pass_cell(self, cell: keras.layers.Layer, inputs: list[tf.Tensor], *others: tf.Tensor, **how: Any) -> tf.Tensor:
        """Returns `cell(inputs, *others, **how)`, which a backward pass computes again if the network is to."""
        if not self.recompute:
            return cell(inputs, *others, **how)
        return recomputed(cell, lambda *given: cell(list(given[:2]), *given[2:], **how), *inputs, *others)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "cells": len(self.cells)}
