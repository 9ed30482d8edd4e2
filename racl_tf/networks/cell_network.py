"""What every network stacked from cells shares: normalisation, stem, the plan of the cells, head."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.functional import convolution
from racl_tf.layers.operations import uniform
from racl_tf.random import derive

STEM_MULTIPLIER = 3


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
        self.norm = BatchNorm()

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


class CellNetwork(keras.Model):
    """An image classifier stacked from cells: a stem, the cells, global average pooling, logits.

    The cells at a third and two thirds of the depth halve the image and double the channels.
    Images are in [0, 1]: mean and standard deviation are taken off inside, so that attacks
    and exports work in pixel units.

    Subclasses make the cells (`make_cell`) and say what they do with them (`call`).
    """

    def __init__(
        self,
        num_classes: int,
        *,
        channels: int,
        cells: int,
        input_shape: tuple[int, int, int],
        mean: float | tuple[float, ...],
        std: float | tuple[float, ...],
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # pixels, alpha and beta stay float32 under a mixed policy
        for name, value in (("num_classes", num_classes), ("channels", channels), ("cells", cells)):
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
        if len(input_shape) != 3 or input_shape[-1] not in (1, 3) or min(input_shape) < 1:
            raise UsageError(
                "`input_shape` must be (height, width, channels) with 1 or 3 channels. "
                f"Received: input_shape={tuple(input_shape)!r}."
            )
        self.num_classes = num_classes
        self.channels = channels
        self.image_shape = tuple(input_shape)
        self.mean = _per_channel("mean", mean, input_shape[-1])
        self.std = _per_channel("std", std, input_shape[-1])
        if min(self.std) <= 0:
            raise UsageError(f"`std` must be positive. Received: std={std!r}.")
        self.seed = seed

        self.stem = Stem(STEM_MULTIPLIER * channels, seed=derive(seed, "stem"))
        image = (None, *self.image_shape)
        self.stem.build(image)
        shapes = [self.stem.compute_output_shape(image)] * 2
        self.cells = []
        self.cell_shapes = []
        reduction_before = False
        for index in range(cells):
            reduction = index in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            cell = self.make_cell(CellPlan(channels, reduction, reduction_before, derive(seed, f"cell_{index}")))
            cell.build(shapes)
            shapes = [shapes[1], cell.compute_output_shape(shapes)]
            self.cells.append(cell)
            self.cell_shapes.append(shapes[1])
            reduction_before = reduction
        self.head = dense_head(num_classes, shapes[1][-1], seed=derive(seed, "head"))
        self.built = True

    def make_cell(self, plan: CellPlan) -> keras.layers.Layer:
        """Returns the layer of one cell; called in the constructor, in order."""
        raise NotImplementedError

    def normalise(self, images: tf.Tensor) -> tf.Tensor:
        """Returns (images - mean) / std, per channel, in the network's compute dtype."""
        images = tf.convert_to_tensor(images)
        normalised = (tf.cast(images, tf.float32) - tf.constant(self.mean)) / tf.constant(self.std)
        return tf.cast(normalised, self.compute_dtype)

    def classify(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the logits (batch, classes), float32, of the last cell's output."""
        return tf.cast(self.head(tf.reduce_mean(features, [1, 2])), tf.float32)

    @property
    def input_shape(self) -> tuple[Any, ...]:
        """(None, height, width, channels) of the images."""
        return (None, *self.image_shape)

    def compute_output_shape(self, input_shape: tuple[Any, ...], **_: Any) -> tuple[Any, ...]:
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "channels": self.channels,
            "cells": len(self.cells),
            "input_shape": self.image_shape,
            "mean": self.mean,
            "std": self.std,
            "seed": self.seed,
        }


def dense_head(num_classes: int, features: int, *, seed: int) -> keras.layers.Dense:
    """Returns the built linear classifier, kernel and bias uniform in +-1 / sqrt(features)."""
    head = keras.layers.Dense(
        num_classes,
        kernel_initializer=uniform(features, derive(seed, "kernel")),
        bias_initializer=uniform(features, derive(seed, "bias")),
    )
    head.build((None, features))
    return head


def _per_channel(name: str, value: float | tuple[float, ...], channels: int) -> tuple[float, ...]:
    values = (float(value),) * channels if isinstance(value, int | float) else tuple(map(float, value))
    if len(values) != channels:
        raise UsageError(f"`{name}` must be one number or one for each of {channels} channels. Received: {value!r}.")
    return values
