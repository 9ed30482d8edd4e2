"""Norms of kernels, convolutions and pools, as pure functions: what Lipschitz constants are made of.

Three kinds: the norm of a kernel as a matrix, the paper's; that of a depthwise convolution by its frequency response;
and bounds that hold for images of a size, whose arithmetic is NumPy's in float64.
"""

import math

import numpy as np
import tensorflow as tf

Size = tuple[int, int]
_FREQUENCIES = 32


def matrix_norm(matrices: np.ndarray) -> np.ndarray:
    """Returns the largest singular value (...) of matrices (..., m, n)."""
    return np.linalg.norm(matrices, 2, axis=(-2, -1))


def kernel_norm(kernel: np.ndarray) -> float:
    """Returns the norm of a kernel (height, width, in, out) as a matrix (height * width * in, out)."""
    return float(matrix_norm(kernel.reshape(-1, kernel.shape[-1])))


def depthwise_norm(kernel: np.ndarray, norm_kind: str) -> float:
    """Returns the norm of a depthwise kernel (size, size, channels, 1).

    Arguments:
        kernel: float32.
        norm_kind: "matrix", as a matrix (size * size, channels); "operator", see `depthwise_operator_norm`.
    """
    size, _, channels, _ = kernel.shape
    windows = kernel.reshape(size * size, channels)
    norms = {"matrix": matrix_norm, "operator": lambda columns: depthwise_operator_norm(tf.constant(columns), size)}
    return float(norms[norm_kind](windows))


def depthwise_operator_norm(windows: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the norms (...) of depthwise convolutions, the largest magnitude of any channel's frequency response.

    The response is sampled at 32 x 17 frequencies (the rest follows by conjugation), which
    misses the maximum of a 5x5 kernel by at most 2% in each direction.

    Arguments:
        windows: (..., size * size, channels), each column the window of one channel.
        size: of the window.
    """
    frequencies = 2 * math.pi / _FREQUENCIES * np.arange(_FREQUENCIES)
    rows, columns = np.divmod(np.arange(size * size), size)
    phase = (frequencies[:, None, None] * rows + frequencies[None, : _FREQUENCIES // 2 + 1, None] * columns).reshape(
        -1, size * size
    )
    real, imaginary = (
        tf.einsum("fp,...pc->...fc", tf.constant(wave(phase), windows.dtype), windows) for wave in (np.cos, np.sin)
    )
    return tf.sqrt(tf.reduce_max(tf.square(real) + tf.square(imaginary), [-2, -1]))


def convolution_bound(kernel: np.ndarray, size: Size, *, strides: Size = (1, 1)) -> float:
    """Returns a bound of the norm of a zero-padded convolution: that of the circular one that it is a part of.

    On a torus that has room for the padding a convolution is one matrix for each frequency (Sedghi et al., 2019), and a
    stride adds up the frequencies that it makes alike.

    Arguments:
        kernel: (height, width, in, out), height and width odd.
        size: (height, width) of the images.
        strides: (vertical, horizontal).
    """
    return float(matrix_norm(_responses(kernel, size, strides, 1)).max())


def depthwise_bounds(kernels: np.ndarray, size: Size, *, stride: int = 1, dilation: int = 1) -> np.ndarray:
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


def strided(size: Size, strides: Size) -> Size:
    """Returns the (height, width) of what a strided convolution makes of images."""
    return -(-size[0] // strides[0]), -(-size[1] // strides[1])
