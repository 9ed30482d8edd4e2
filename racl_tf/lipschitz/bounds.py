"""The Lipschitz constant of a network between two figures that can be relied on.

The constant that a search constrains (Eqs. 8 to 12) is the paper's surrogate and bounds nothing. This is the honest
pair: no two images are driven apart by more than the upper figure, and some are by as much as the lower one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from racl_tf.attacks import Classifier
from racl_tf.attacks.checks import check_images
from racl_tf.attacks.process import LogitsOf
from racl_tf.errors import UsageError
from racl_tf.layers.genotype_cell import GenotypeCell
from racl_tf.layers.mixed_cell import LEAVING, MixedCell
from racl_tf.layers.spectral import Size, convolution_bound, matrix_norm
from racl_tf.lipschitz.operation_bounds import mixed_edges_bounds
from racl_tf.networks.cell_network import CellNetwork
from racl_tf.networks.supernet import Supernet
from racl_tf.seeding import derive
from racl_tf.space import EDGES, INPUTS, NODES, OPERATIONS, edges_into

_ALPHA_SHAPE = (2, len(EDGES), len(OPERATIONS))
_GRAY_LEVEL = np.float32(1 / 255)


@dataclass(frozen=True)
class LipschitzPair:
    """Two figures that enclose a network's Lipschitz constant, in units of logits per pixel in [0, 1], both in L2.

    Arguments:
        lower: a slope that the network has somewhere.
        upper: a slope that it exceeds nowhere, but for the rounding of its arithmetic; infinite if it is too large
            for a number.
    """

    lower: float
    upper: float


def lipschitz_bounds(
    network: CellNetwork,
    images: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    batch_size: int = 64,
) -> LipschitzPair:
    """Returns a lower and an upper bound of the Lipschitz constant of a network at inference.

    See `steepest_slope` for the lower and `upper_bound` for the upper one, which of deep networks is larger by many
    orders of magnitude.

    Arguments:
        network: a `GenotypeNetwork`, a `RobNet`, or a `Supernet` with alpha and beta.
        images: floating point (N, height, width, channels) in [0, 1].
        alpha: of a supernet (2, 14, 8), for example of `search.architecture.median()`.
        beta: of a supernet (2, 14).
        batch_size: number of images whose slopes are measured at once.

    Raises:
        UsageError: for another kind of network or one that has diverged, images that it does not take, or alpha and
            beta that are missing, of another shape or not wanted.

    >>> from racl_tf.networks.genotype_network import GenotypeNetwork
    >>> network = GenotypeNetwork("racl", 10, channels=4, cells=3, input_shape=(8, 8, 1))
    >>> pair = lipschitz_bounds(network, np.random.default_rng(0).random((4, 8, 8, 1)))
    >>> 0 < pair.lower < pair.upper
    True
    """
    upper = upper_bound(network, alpha=alpha, beta=beta)
    weights = () if alpha is None else tuple(tf.constant(values, tf.float32) for values in (alpha, beta))
    classifier = Classifier(lambda x: network(x, *weights, training=False))
    return LipschitzPair(steepest_slope(classifier, images, batch_size=batch_size), upper)


def steepest_slope(classifier: Classifier, images: ArrayLike, *, batch_size: int = 64, seed: int = 0) -> float:
    """Returns the largest slope of a classifier found at images: a lower bound of its Lipschitz constant.

    The slope at an image is the largest singular value of the Jacobian of the logits there: how far the logits move
    for a small step in the worst direction. Each image is first moved at random by less than one of 255 grey levels:
    where pixels are equal, as in a black background, maxima tie, and backpropagation through a tie may give more than
    any slope.

    Arguments:
        classifier: of images to logits.
        images: floating point (N, ...) in [0, 1].
        batch_size: number of images whose slopes are measured at once.
        seed: of the small moves.

    Raises:
        UsageError: for images that are not in [0, 1] or that the classifier does not take.
    """
    if batch_size < 1:
        raise UsageError(f"Received an invalid value for `batch_size`, expected at least 1. Received: {batch_size}.")
    x, _ = check_images(images, np.zeros(np.shape(images)[:1], np.int32))
    classifier.check(x[:1], np.zeros(1, np.int32))
    noise = np.random.default_rng(derive(seed, "lipschitz")).random(x.shape, np.float32)
    moved = x + _GRAY_LEVEL * (noise - x)
    batches = (moved[start : start + batch_size] for start in range(0, len(x), batch_size))
    return max(float(np.max(classifier.call(_slopes, None, {"x": batch}))) for batch in batches)


def _slopes(_: None, logits_of: LogitsOf, arrays: dict[str, tf.Tensor]) -> tf.Tensor:
    """Returns the largest singular value of the Jacobian at each image (B,), float64; graph code."""
    x = arrays["x"]
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = logits_of(x)
    jacobian = tape.batch_jacobian(logits, x, parallel_iterations=1, experimental_use_pfor=False)  # one class at a time
    rows = tf.cast(tf.reshape(jacobian, [tf.shape(x)[0], logits.shape[-1], tf.size(x[0])]), tf.float64)
    return tf.sqrt(tf.reduce_max(tf.linalg.eigvalsh(tf.matmul(rows, rows, transpose_b=True)), -1))


def upper_bound(network: CellNetwork, *, alpha: ArrayLike | None = None, beta: ArrayLike | None = None) -> float:
    """Returns an upper bound of the Lipschitz constant of a network at inference, composed layer by layer.

    The constants of layers in a row multiply, those of summands add, those of what is concatenated add as squares.
    Both inputs of a cell count, a batch normalisation with its scale and moving variance, and a max pool with its true
    constant. With partial channels the mixture and the bypass of an edge read different channels and write different
    ones, so that the edge has the larger of their constants.

    Arguments and raises: as `lipschitz_bounds`.
    """
    weights = _check_weights(network, alpha, beta)
    if not all(np.isfinite(variable.numpy()).all() for variable in network.variables):
        raise UsageError(
            "The network's weights are not all finite, so its slopes are not either: its training diverged."
        )
    kernel = np.asarray(network.stem.kernel, np.float64) / np.array(network.spec.std)[:, None]
    size: Size = network.image_shape[0], network.image_shape[1]
    before = state = convolution_bound(kernel * network.stem.norm.factors(), size)
    for cell, (_, height, width, _) in zip(network.cells, network.cell_shapes, strict=True):
        before, state = state, _cell_bound(cell, [before, state], size, (height, width), weights)
        size = height, width
    return state / math.sqrt(math.prod(size)) * float(matrix_norm(np.asarray(network.head.kernel, np.float64)))


def _cell_bound(
    cell: GenotypeCell | MixedCell, inputs: list[float], size: Size, after: Size, weights: Sequence[np.ndarray]
) -> float:
    """Returns the bound of a cell's output from those of its inputs.

    Arguments:
        cell: of a network.
        inputs: the bounds of its two inputs.
        size: (height, width) of the second input.
        after: (height, width) of the output.
        weights: alpha (2, 14, 8) and beta (2, 14), for a mixed cell.
    """
    nodes = [bound * layer.lipschitz_bound(size) for bound, layer in zip(inputs, cell.preprocessing, strict=True)]
    if isinstance(cell, MixedCell):
        alpha, beta = (values[int(cell.reduction)] for values in weights)
        edges, concat = _mixed_edges(cell, size, after, alpha, beta), tuple(range(INPUTS, INPUTS + NODES))
    else:
        edges, concat = _genotype_edges(cell, size, after), cell.cell.concat
    for incoming in edges:
        nodes.append(sum(bound * nodes[source] for source, bound in incoming))
    return math.hypot(*(nodes[node] for node in concat))


def _genotype_edges(cell: GenotypeCell, size: Size, after: Size) -> list[list[tuple[int, float]]]:
    """Returns the source and the bound of every edge into each node."""
    operations = iter(cell.operations)
    return [
        [(edge.source, next(operations).lipschitz_bound(size if edge.source < INPUTS else after)) for edge in edges]
        for edges in cell.cell.nodes
    ]


def _mixed_edges(
    cell: MixedCell, size: Size, after: Size, alpha: np.ndarray, beta: np.ndarray
) -> list[list[tuple[int, float]]]:
    """Returns the source and the bound of every edge into each node, weighted by alpha (14, 8) and beta (14,)."""
    operations = np.empty(alpha.shape)
    for source, (layer, leaving) in enumerate(zip(cell.sources, LEAVING, strict=True)):
        operations[leaving] = mixed_edges_bounds(layer, size if source < INPUTS else after)
    bounds = (alpha * operations).sum(-1)
    bounds = beta * (bounds if cell.partial == 1 else np.maximum(bounds, 1))
    return [[(EDGES[edge][0], bounds[edge]) for edge in edges_into(node)] for node in range(INPUTS, INPUTS + NODES)]


def _check_weights(network: object, alpha: ArrayLike | None, beta: ArrayLike | None) -> list[np.ndarray]:
    """Returns the magnitudes of alpha and beta, or nothing for a network that has none."""
    if isinstance(network, Supernet):
        weights = [np.abs(np.asarray([] if values is None else values, np.float64)) for values in (alpha, beta)]
        if [values.shape for values in weights] != [_ALPHA_SHAPE, _ALPHA_SHAPE[:2]]:
            received = [None if values is None else np.shape(values) for values in (alpha, beta)]
            raise UsageError(
                f"The constant of a supernet depends on `alpha`, shape {_ALPHA_SHAPE}, and `beta`, {_ALPHA_SHAPE[:2]}: "
                "alpha, beta = search.architecture.median(). Received: shapes {} and {}.".format(*received)
            )
        return weights
    if not isinstance(network, CellNetwork) or not all(isinstance(cell, GenotypeCell) for cell in network.cells):
        hint = " Of a search take its supernet." if hasattr(network, "supernet") else ""
        raise UsageError(
            "Bounds of the Lipschitz constant are known for networks stacked from cells: GenotypeNetwork, RobNet and, "
            f"with alpha and beta, Supernet. Received: {type(network).__name__}.{hint}"
        )
    if alpha is not None or beta is not None:
        raise UsageError(
            f"`alpha` and `beta` are for a Supernet; a {type(network).__name__} has its operations. Leave them out."
        )
    return []
