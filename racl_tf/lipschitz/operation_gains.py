"""The gain that a supernet's operations really have on images, and how far an operation's norm tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy import stats

from racl_tf.attacks.checks import check_images
from racl_tf.errors import UsageError
from racl_tf.layers.mixed_cell import LEAVING
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.networks.supernet import Supernet
from racl_tf.space import CANDIDATES, INPUTS, OPERATIONS, ZERO

_OTHERS = np.delete(np.arange(len(OPERATIONS)), ZERO)


@dataclass(frozen=True, eq=False)
class GainComparison:
    """How far the norms lambda_o of a supernet's operations order them as their gains do.

    A constraint on norms that do not correlate with the gains, or negatively, says nothing of the network's slopes.

    Arguments:
        correlation: Spearman's rank correlation over all operations of all edges and cells but zero, in [-1, 1].
        within_edges: the mean of those over the operations of each edge, which is what chooses among them.
        gains: the median gain of each operation, by name.
        norms: the median norm lambda_o of each operation, by name.
        images: number of images that gains are the largest over.
    """

    correlation: float
    within_edges: float
    gains: dict[str, float]
    norms: dict[str, float]
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures, ready for JSON."""
        return {
            "correlation": self.correlation,
            "within_edges": self.within_edges,
            "gains": self.gains,
            "norms": self.norms,
            "images": self.images,
        }

    def __str__(self) -> str:
        return (
            f"Norms of operations and their gains on {self.images} images have the rank correlation "
            f"{self.correlation:+.2f} (within an edge {self.within_edges:+.2f})."
        )


def compare_norms_with_gains(log_norms: ArrayLike, gains: ArrayLike, *, images: int) -> GainComparison:
    """Returns the rank correlations of norms with gains.

    Arguments:
        log_norms: ln(lambda_o) of every operation (cells, 14, 8), of `OperationNorms.measure`.
        gains: the gain of every operation, same shape, of `operation_gains`.
        images: number of images that gains are the largest over.

    >>> gains = np.random.default_rng(0).random((3, 14, 8))
    >>> print(compare_norms_with_gains(3 * np.log(gains), gains, images=8))
    Norms of operations and their gains on 8 images have the rank correlation +1.00 (within an edge +1.00).
    """
    norms, found = (np.delete(np.asarray(values, np.float64), ZERO, -1) for values in (log_norms, gains))
    rows = zip(norms.reshape(-1, len(CANDIDATES)), found.reshape(-1, len(CANDIDATES)), strict=True)
    return GainComparison(
        correlation=_rank_correlation(norms.ravel(), found.ravel()),
        within_edges=float(np.mean([_rank_correlation(*row) for row in rows])),
        gains=dict(zip(CANDIDATES, np.median(found, (0, 1)).tolist(), strict=True)),
        norms=dict(zip(CANDIDATES, np.exp(np.median(norms, (0, 1))).tolist(), strict=True)),
        images=images,
    )


def operation_gains(
    supernet: Supernet, images: ArrayLike, alpha: ArrayLike, beta: ArrayLike, *, iterations: int = 20, seed: int = 0
) -> np.ndarray:
    """Returns the gain of every operation on every edge of every cell, (cells, 14, 8), 0 for zero.

    An operation's gain at an image is the largest singular value of its Jacobian at what reaches its edge there, at
    inference and on the channels that are mixed: how far a small change of the edge's input moves the operation's
    output at most, with its normalisations. It is found by power iteration on the Jacobian, from below; the largest of
    all images counts.

    Arguments:
        supernet: whose operations are measured.
        images: floating point (N, height, width, channels) in [0, 1].
        alpha: the weights at which images pass through, (2, 14, 8), for example of `search.architecture.median()`.
        beta: (2, 14).
        iterations: steps of power iteration.
        seed: of the directions that it starts from.

    Raises:
        UsageError: for images that are not in [0, 1], or fewer than one step.
    """
    if iterations < 1:
        raise UsageError(f"`iterations` of power iteration must be at least 1. Received: iterations={iterations!r}.")
    x, _ = check_images(images, np.zeros(np.shape(images)[:1], np.int32))
    alphas, betas = (tf.unstack(tf.constant(np.asarray(values), tf.float32)) for values in (alpha, beta))
    gains = np.zeros((len(supernet.cells), *np.shape(alpha)[1:]))
    power = _PowerIteration(iterations, seed)
    before = state = supernet.stem(supernet.normalize(tf.constant(x, tf.float32)), training=False)
    for cell, found in zip(supernet.cells, gains, strict=True):
        kind = int(cell.reduction)
        states = cell.states([before, state], alphas[kind], betas[kind])
        before, state = state, tf.concat(states[INPUTS:], -1)
        for layer, leaving, node in zip(cell.sources, LEAVING, states[:-1], strict=True):
            for position, edge in enumerate(leaving):
                found[edge, _OTHERS] = power.gains(layer.edge(position), node[..., : layer.mixed])
    return gains


class _PowerIteration:
    """Finds the gains of all operations of layers of one edge; layers of one shape share a graph."""

    def __init__(self, iterations: int, seed: int) -> None:
        self.iterations = iterations
        self.seed = seed
        self._steps: dict[tuple[object, ...], tuple[MixedEdges, tf.types.experimental.PolymorphicFunction]] = {}

    def gains(self, layer: MixedEdges, inputs: tf.Tensor) -> np.ndarray:
        """Returns the largest gain of each operation but zero (7,) at inputs (batch, height, width, mixed)."""
        inputs = tf.cast(inputs, tf.float32)
        twin, step = self._steps.setdefault((layer.stride, inputs.shape), (layer, tf.function(_step, autograph=False)))
        twin.set_weights(layer.get_weights())
        directions = _unit(tf.unstack(tf.random.stateless_normal([len(CANDIDATES), *inputs.shape], [self.seed, 0])))
        norms = tf.zeros([])
        for _ in range(self.iterations):
            directions, norms = step(twin, inputs, directions)
        return tf.reduce_max(norms, 1).numpy()


def _step(layer: MixedEdges, inputs: tf.Tensor, directions: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Takes one step of power iteration on the Jacobian J of every operation but zero at every image; graph code.

    Arguments:
        layer: of one edge.
        inputs: of the operations (batch, h, w, mixed).
        directions: of each operation, unit vectors v for every image (batch, h, w, mixed).

    Returns:
        J^T J v of each operation, made unit vectors, and ||J v|| (7, batch).
    """
    pulled, norms = [], []
    for operation, direction in zip(CANDIDATES, directions, strict=True):
        with tf.GradientTape() as outer:
            with tf.GradientTape(persistent=True) as inner:
                inner.watch(inputs)
                outputs = tf.cast(layer.operation(operation, inputs), tf.float32)
            cotangent = tf.zeros_like(outputs)
            outer.watch(cotangent)
            transposed = inner.gradient(outputs, inputs, cotangent)  # linear in the cotangent, with the Jacobian J^T
        # A direction is an argument as it is: the gradient of a max pool's gradient writes over what nobody else holds.
        pushed = outer.gradient(transposed, cotangent, direction)
        pulled.append(inner.gradient(outputs, inputs, pushed))
        norms.append(tf.sqrt(tf.reduce_sum(tf.square(pushed), [1, 2, 3])))
    return _unit(pulled), tf.stack(norms)


def _unit(directions: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns directions (batch, h, w, channels) made unit vectors for every image; what is zero stays zero."""
    return [
        tf.math.divide_no_nan(each, tf.sqrt(tf.reduce_sum(tf.square(each), [1, 2, 3], keepdims=True)))
        for each in directions
    ]


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Spearman's rank correlation, 0 where all values are equal."""
    if min(np.ptp(first), np.ptp(second)) == 0:
        return 0.0
    return float(stats.spearmanr(first, second).statistic)
