"""The mixed cell, grouped by source, is Eq. 5 computed edge by edge and operation by operation.

The reference below is written for reading: every edge and every operation on its own, in float64, with one
definition of a stride (compute at every pixel, keep every second). It reads the cell's own variables, so that the
gradients of both computations belong to the same weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.layers import batch_norm
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.mixed_cell import MixedCell
from racl_tf.layers.mixed_edges import MixedEdges

POOLS = ["max_pool_3x3", "avg_pool_3x3"]
PRIMITIVES = ["none", *POOLS, "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]
#: Which of a source's six blocks of depthwise kernel, 1x1 kernel and normalisation an operation is made of.
BLOCKS = {"sep_conv_3x3": [0, 1], "dil_conv_3x3": [2], "sep_conv_5x5": [3, 4], "dil_conv_5x5": [5]}
TOLERANCE = 1e-5


class Reference:
    """Computes a `MixedCell` edge by edge; in training `moving` becomes what the cell's statistics must become."""

    def __init__(self, cell: MixedCell, *, training: bool) -> None:
        self.cell = cell
        self.training = training
        self.moving = {id(variable): variable.numpy().copy() for variable in cell.non_trainable_variables}

    def __call__(self, inputs: list[tf.Tensor], alpha: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        states = [self.preprocess(*pair) for pair in zip(self.cell.preprocessing, inputs, strict=True)]
        edge = 0
        for node in range(2, 6):
            total = tf.constant(0, tf.float64)
            for source in range(node):
                position = node - max(source + 1, 2)
                total += beta[edge] * self.mixed_operation(source, position, states[source], alpha[edge])
                edge += 1
            states.append(total)
        return tf.concat(states[2:], -1)

    def preprocess(self, layer: keras.layers.Layer, images: tf.Tensor) -> tf.Tensor:
        images, kernels = tf.nn.relu(images), layer.kernels
        if len(kernels) == 1:
            return self.normalize(pointwise(images, kernels[0]), layer.norm)
        return self.normalize(factorised_reduction(images, *kernels), layer.norm)

    def mixed_operation(self, source: int, position: int, images: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
        """Returns PC-DARTS's MixedOp: the mixture of the first channels, the bypass of the rest, shuffled."""
        edges, k = self.cell.sources[source], self.cell.partial
        stride = 2 if self.cell.reduction and source < 2 else 1
        n = images.shape[-1] // k
        mixture = sum(
            alpha[index] * self.operation(edges, position, name, images[..., :n], stride)
            for index, name in enumerate(PRIMITIVES)
        )
        bypass = images[..., n:] if stride == 1 else halve(images[..., n:])
        joined = tf.concat([mixture, bypass], -1)
        return tf.gather(joined, [group * n + channel for channel in range(n) for group in range(k)], axis=-1)

    def operation(self, edges: MixedEdges, position: int, name: str, x: tf.Tensor, stride: int) -> tf.Tensor:
        n = x.shape[-1]
        mine = slice(position * n, (position + 1) * n)  # of the channels of all edges
        if name == "none":
            return tf.zeros_like(x[:, ::stride, ::stride])
        if name in POOLS:
            pool = max_pool if name == "max_pool_3x3" else average_pool
            return self.normalize(pool(x, stride), edges, statistics(edges, name))
        if name == "skip_connect" and stride == 1:
            return x
        if name == "skip_connect":
            kernel = tf.convert_to_tensor(edges.skip)[0, 0, :, mine]
            x = factorised_reduction(tf.nn.relu(x), kernel[:, : n // 2], kernel[:, n // 2 :])
            return self.normalize(x, edges, statistics(edges, name, position))
        dilation = 2 if name.startswith("dil") else 1
        for block in BLOCKS[name]:
            kernel = tf.convert_to_tensor(edges.depthwise[block // 3])[block % 3]
            x = depthwise(tf.nn.relu(x), kernel[:, :, mine], stride, dilation)
            x = pointwise(x, tf.convert_to_tensor(edges.pointwise)[block][..., mine])
            x = self.normalize(x, edges, statistics(edges, block, position))
            stride = 1
        return x

    def normalize(self, x: tf.Tensor, layer: BatchNorm | MixedEdges, channels: slice = slice(None)) -> tf.Tensor:
        moving = [layer.moving_mean, layer.moving_variance]
        mean, variance = (double(variable)[channels] for variable in moving)
        if self.training:
            mean, variance = tf.nn.moments(x, [0, 1, 2])
            count = np.prod(x.shape[:3])
            for variable, batch in zip(moving, (mean, variance * count / (count - 1)), strict=True):
                self.moving[id(variable)][channels] = 0.9 * variable.numpy()[channels] + 0.1 * batch.numpy()
        return (x - mean) / tf.sqrt(variance + 1e-5)


def statistics(edges: MixedEdges, what: int | str, position: int = 0) -> slice:
    """Returns where the moving statistics of a block, a pool or the skip lie: in this order, blocks edge by edge."""
    width = edges.edges * edges.mixed
    starts = {
        "max_pool_3x3": 6 * width,
        "avg_pool_3x3": 6 * width + edges.mixed,
        "skip_connect": 6 * width + 2 * edges.mixed,
    }
    start = (what * width if isinstance(what, int) else starts[what]) + position * edges.mixed
    return slice(start, start + edges.mixed)


def double(value: tf.Tensor | keras.Variable) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(value), tf.float64)


def pad(x: tf.Tensor, before: int, after: int, value: float = 0) -> tf.Tensor:
    return tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]], constant_values=value)


def depthwise(x: tf.Tensor, kernel: tf.Tensor, stride: int, dilation: int) -> tf.Tensor:
    margin = dilation * (kernel.shape[0] // 2)
    dilations = [dilation, dilation]
    y = tf.nn.depthwise_conv2d(pad(x, margin, margin), double(kernel), [1, 1, 1, 1], "VALID", dilations=dilations)
    return y[:, ::stride, ::stride]


def pointwise(x: tf.Tensor, kernel: tf.Tensor | keras.Variable) -> tf.Tensor:
    return tf.tensordot(x, tf.reshape(double(kernel), [x.shape[-1], -1]), 1)


def factorised_reduction(x: tf.Tensor, even: tf.Tensor, odd: tf.Tensor) -> tf.Tensor:
    """Returns 1x1 convolutions of the pixels at (0, 0), (0, 2), ... and at (1, 1), (1, 3), ..., beyond the edge 0."""
    shifted = pad(x, 0, 1)[:, 1:, 1:]
    return tf.concat([pointwise(x[:, ::2, ::2], even), pointwise(shifted[:, ::2, ::2], odd)], -1)


def max_pool(x: tf.Tensor, stride: int) -> tf.Tensor:
    return tf.nn.max_pool2d(pad(x, 1, 1, -np.inf), 3, 1, "VALID")[:, ::stride, ::stride]


def average_pool(x: tf.Tensor, stride: int) -> tf.Tensor:
    total, count = (9 * tf.nn.avg_pool2d(pad(image, 1, 1), 3, 1, "VALID") for image in (x, tf.ones_like(x)))
    return (total / count)[:, ::stride, ::stride]


def halve(x: tf.Tensor) -> tf.Tensor:
    """Returns the maximum of each 2x2 block; blocks that stick out of an odd image count what is inside."""
    x = pad(x, 0, 1, -np.inf)
    corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    height, width = corners[-1].shape[1:3]
    return tf.reduce_max(tf.stack([corner[:, :height, :width] for corner in corners]), 0)


class Outcome(NamedTuple):
    """What one computation of a cell gave."""

    values: np.ndarray
    gradients: list[np.ndarray]


def differentiate(compute: Callable, cell: MixedCell, arguments: list[np.ndarray], dtype: tf.DType) -> Outcome:
    """Returns the outputs, and the gradients of a random projection of them by inputs, alpha, beta and weights."""
    first, second, alpha, beta = (tf.constant(value, dtype) for value in arguments)
    with tf.GradientTape() as tape:
        tape.watch([first, second, alpha, beta])
        outputs = compute([first, second], alpha, beta)
        projection = np.random.default_rng(1).normal(size=outputs.shape)
        loss = tf.reduce_sum(outputs * tf.constant(projection, dtype))
    variables = [first, second, alpha, beta, *(variable.value for variable in cell.trainable_variables)]
    return Outcome(
        outputs.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, variables)]
    )


def assert_close(ours: np.ndarray, truth: np.ndarray, what: str) -> None:
    difference = np.abs(ours - truth).max() / np.abs(truth).max()
    assert difference < TOLERANCE, f"{what}: relative difference {difference:.1e}"


def make_cell(partial: int, reduction: bool, reduction_before: bool) -> tuple[MixedCell, list[np.ndarray]]:
    """Returns a cell with statistics as after some training, and its inputs (of odd and even size), alpha and beta."""
    rng = np.random.default_rng(0)
    cell = MixedCell(5 * partial, reduction=reduction, reduction_before=reduction_before, partial=partial)
    shapes = [(3, 11, 10, 7) if reduction_before else (3, 6, 5, 7), (3, 6, 5, 8)]
    cell.build(shapes)
    for variable in cell.non_trainable_variables:
        variance = variable.name == "moving_variance"
        variable.assign(rng.uniform(0.2, 1, variable.shape) if variance else rng.normal(0, 0.1, variable.shape))
    images = [rng.normal(size=shape).astype("float32") for shape in shapes]
    return cell, [*images, rng.uniform(0.05, 0.5, (14, 8)), rng.uniform(0.1, 0.9, 14)]


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("reduction_before", [False, True], ids=["", "after_reduction"])
@pytest.mark.parametrize("reduction", [False, True], ids=["normal", "reduction"])
@pytest.mark.parametrize("partial", [1, 4], ids="k={}".format)
def test_grouped_by_source_equals_edge_by_edge(
    partial: int, reduction: bool, reduction_before: bool, training: bool
) -> None:
    cell, arguments = make_cell(partial, reduction, reduction_before)
    reference = Reference(cell, training=training)
    truth = differentiate(reference, cell, arguments, tf.float64)
    ours = differentiate(lambda *values: cell(*values, training=training), cell, arguments, tf.float32)

    assert_close(ours.values, truth.values, "values")
    names = ["input 0", "input 1", "alpha", "beta", *(variable.path for variable in cell.trainable_variables)]
    for name, gradient, true_gradient in zip(names, ours.gradients, truth.gradients, strict=True):
        assert_close(gradient, true_gradient, f"gradient by {name}")
    for variable in cell.non_trainable_variables:
        assert_close(variable.numpy(), reference.moving[id(variable)], variable.path)


@pytest.mark.parametrize("stride", [1, 2])
def test_replicas_compute_what_one_device_does_by_a_sum_for_each_level(
    stride: int, two_replicas: tf.distribute.Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normalisations that do not wait for each other: of first blocks, pools and skip, and of second blocks."""
    calls, gather = [], batch_norm.gather_over_replicas

    def counted(moments: tf.Tensor) -> tf.Tensor:
        calls.append(moments.shape)
        return gather(moments)

    monkeypatch.setattr(batch_norm, "gather_over_replicas", counted)
    rng = np.random.default_rng(stride)
    images = rng.normal(1, 2, (5, 6, 6, 8)).astype("float32")
    weights = rng.uniform(size=(8, 3)).astype("float32"), rng.uniform(size=3).astype("float32")

    def make() -> MixedEdges:
        layer = MixedEdges(8, 3, stride=stride, partial=2, seed=1)
        layer.build((None, None, None, 8))
        return layer

    alone = make()
    mixtures, _ = alone(images, *weights, training=True)
    assert not calls
    with two_replicas.scope():
        layer = make()
    parts = np.split(images, [2])
    shares = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    found = two_replicas.run(lambda part: layer(part, *weights, training=True)[0], (shares,))
    assert len(calls) == 2 * 2
    for ours, truth in zip(found, mixtures, strict=True):
        whole = tf.concat(two_replicas.experimental_local_results(ours), 0)
        np.testing.assert_allclose(whole, truth, rtol=1e-4, atol=1e-4)
    for mine, its in zip(layer.non_trainable_variables, alone.non_trainable_variables, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(mine), its.numpy(), rtol=1e-4, atol=1e-5)
