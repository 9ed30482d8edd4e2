"""Upper bounds of the Lipschitz constants of layers, in the L2 norm over all pixels and channels of an image.

Each is the operator norm of what is linear, or a bound of it, with the batch normalisation that follows folded in:
its factors scale the rows of the matrix. ReLU has the constant 1. Everything is NumPy in float64.
"""

import keras
import numpy as np
import tensorflow as tf

from racl_tf.layers.batch_norm import EPSILON, BatchNorm
from racl_tf.layers.mixed_edges import BLOCKS, SIZES, MixedEdges
from racl_tf.layers.operations import FactorizedReduction, Pool, ReLUConvBN, SeparableConv
from racl_tf.space import OPERATIONS

Size = tuple[int, int]


def matrix_norm(matrices: np.ndarray) -> np.ndarray:
    """Returns the largest singular value (...) of matrices (..., m, n)."""
    return np.linalg.norm(matrices, 2, axis=(-2, -1))


def convolution_norm(kernel: np.ndarray, size: Size, *, strides: Size = (1, 1)) -> float:
    """Returns a bound of the norm of a zero-padded convolution: that of the circular one that it is a part of.

    On a torus that has room for the padding a convolution is one matrix for each frequency (Sedghi et al., 2019), and a
    stride adds up the frequencies that it makes alike.

    Arguments:
        kernel: (height, width, in, out), height and width odd.
        size: (height, width) of the images.
        strides: (vertical, horizontal).
    """
    return float(matrix_norm(_responses(kernel, size, strides, 1)).max())


def depthwise_norms(kernels: np.ndarray, size: Size, *, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """Returns a bound of the norm of a zero-padded depthwise convolution for each channel (channels,).

    It is the largest magnitude of the frequency response on a torus that has room for the padding.

    Arguments:
        kernels: (size, size, channels), size odd.
        size: (height, width) of the images.
        stride: in both directions.
        dilation: in both directions.
    """
    responses = _responses(kernels[..., None, :], size, (stride, stride), dilation)
    return np.linalg.norm(responses, axis=-2).max((0, 1))


def _responses(kernel: np.ndarray, size: Size, strides: Size, dilation: int) -> np.ndarray:
    """Returns the matrices (vertical, horizontal, aliases * in, out) of a convolution at the torus's frequencies."""
    for axis, (side, stride) in enumerate(zip(size, strides, strict=True)):
        half = kernel.shape[axis] // 2
        reach = min(half, (side - 1) // dilation)  # what lies further out only ever meets padding
        offsets = np.arange(-reach, reach + 1)
        shortest = side + reach * dilation if reach else 1
        period = -(-shortest // stride) * stride
        waves = np.exp(-2j * np.pi / period * np.outer(np.arange(period), dilation * offsets))
        taps = np.take(np.asarray(kernel), half + offsets, axis)
        kernel = np.moveaxis(np.tensordot(waves, taps, (1, axis)), 0, axis)
    rows, columns, inputs, outputs = kernel.shape
    folded = kernel.reshape(strides[0], rows // strides[0], strides[1], columns // strides[1], inputs, outputs)
    stacked = folded.transpose(1, 3, 0, 2, 4, 5).reshape(rows // strides[0], columns // strides[1], -1, outputs)
    return stacked / np.sqrt(strides[0] * strides[1])


def max_pool_bound(size: Size, stride: int) -> float:
    """Returns the root of the largest number of 3x3 windows that one pixel lies in: 3 at stride 1, 2 at stride 2.

    A maximum changes by no more than some pixel of its window, and images of few pixels have fewer windows.
    """
    return float(np.sqrt(np.prod([_windows(side, stride).sum(0).max() for side in size])))


def average_pool_norm(size: Size, stride: int) -> float:
    """Returns the norm of the 3x3 average pool that counts valid pixels only, exactly: it is separable."""
    windows = (_windows(side, stride) for side in size)
    return float(np.prod([matrix_norm(window / window.sum(1, keepdims=True)) for window in windows]))


def _windows(side: int, stride: int) -> np.ndarray:
    """Returns which pixels of a side (columns) lie in which windows (rows)."""
    return np.abs(np.arange(side) - np.arange(0, side, stride)[:, None]) <= 1


def normalization_factors(norm: BatchNorm) -> np.ndarray:
    """Returns by how much a batch normalisation stretches each channel at inference (channels,)."""
    factors = _inverse_deviations(norm.moving_variance)
    return factors * np.abs(_array(norm.gamma)) if norm.affine else factors


def layer_bound(layer: keras.layers.Layer, size: Size) -> float:
    """Returns a bound of the Lipschitz constant of a genotype's operation, or of a cell's preprocessing.

    Arguments:
        layer: one of `racl_tf.layers.operations`, or Keras's identity.
        size: (height, width) of its inputs.
    """
    if isinstance(layer, keras.layers.Identity):
        return 1.0
    if isinstance(layer, Pool):
        return {"max": max_pool_bound, "average": average_pool_norm}[layer.kind](size, layer.stride)
    if isinstance(layer, SeparableConv):
        return _separable_bound(layer, size)
    if isinstance(layer, FactorizedReduction):
        halves = zip(layer.kernels, np.split(normalization_factors(layer.norm), [layer.filters // 2]), strict=True)
        return float(max(matrix_norm(_array(kernel)[0, 0] * factors) for kernel, factors in halves))
    if isinstance(layer, ReLUConvBN):
        return _chain_bound(layer, size)
    raise TypeError(f"No bound is known of {type(layer).__name__}.")


def _chain_bound(layer: ReLUConvBN, size: Size) -> float:
    *kernels, last = map(_array, layer.kernels)
    bound = 1.0
    for kernel, strides in zip([*kernels, last * normalization_factors(layer.norm)], layer.strides, strict=True):
        bound *= convolution_norm(kernel, size, strides=strides)
        size = _strided(size, strides)
    return bound


def _separable_bound(layer: SeparableConv, size: Size) -> float:
    bound, stride = 1.0, layer.stride
    for depthwise, pointwise, norm in zip(layer.depthwise, layer.pointwise, layer.norms, strict=True):
        norms = depthwise_norms(_array(depthwise)[..., 0], size, stride=stride, dilation=layer.dilation)
        bound *= float(matrix_norm(norms[:, None] * _array(pointwise)[0, 0] * normalization_factors(norm)))
        size, stride = _strided(size, (stride, stride)), 1
    return bound


def mixed_edges_bounds(layer: MixedEdges, size: Size) -> np.ndarray:
    """Returns bounds of the Lipschitz constants of every operation on the edges that leave one node (E, 8).

    Operations are those on the channels that are mixed, unweighted.

    Arguments:
        layer: of the supernet.
        size: (height, width) of its inputs.
    """
    kernels = {name: np.asarray(stack, np.float64) for name, stack in layer.matrices().items()}
    factors = np.split(_inverse_deviations(layer.moving_variance), np.cumsum(layer.norm_channels)[:-1])
    by_edge = (layer.edges, 1, layer.mixed)
    bounds = {
        "none": np.zeros(layer.edges),
        "max_pool_3x3": max_pool_bound(size, layer.stride) * factors[len(BLOCKS)].max(),
        "avg_pool_3x3": average_pool_norm(size, layer.stride) * factors[len(BLOCKS) + 1].max(),
    }
    if layer.stride == 2:
        halves = np.split(factors[-1].reshape(by_edge), [layer.mixed // 2], -1)
        skips = (kernels[name][0].transpose(1, 0, 2) for name in ("skip_even", "skip_odd"))
        bounds["skip_connect"] = np.maximum(
            *(matrix_norm(skip * half) for skip, half in zip(skips, halves, strict=True))
        )
    for block, operation in enumerate(BLOCKS):
        window, number = SIZES[block // 3], block % 3
        depthwise = kernels[f"depthwise_{window}x{window}"][number].reshape(window, window, -1)
        strided = number != 1  # the second block of a separable convolution follows the first
        norms = depthwise_norms(
            depthwise,
            size if strided else _strided(size, (layer.stride, layer.stride)),
            stride=layer.stride if strided else 1,
            dilation=2 if number == 2 else 1,
        )
        pointwise = kernels["pointwise"][block].transpose(1, 0, 2)
        folded = norms.reshape(layer.edges, layer.mixed, 1) * pointwise * factors[block].reshape(by_edge)
        bounds[operation] = bounds.get(operation, 1.0) * matrix_norm(folded)
    columns = [np.broadcast_to(bounds.get(operation, 1.0), layer.edges) for operation in OPERATIONS]
    return np.stack(columns, -1)


def _strided(size: Size, strides: Size) -> Size:
    return -(-size[0] // strides[0]), -(-size[1] // strides[1])


def _inverse_deviations(variance: keras.Variable) -> np.ndarray:
    return 1 / np.sqrt(_array(variance) + EPSILON)


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(variable), np.float64)
