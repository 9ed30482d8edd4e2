"""Spectral norms of convolution kernels, as pure functions of stacks of matrices."""

import math

import numpy as np
import tensorflow as tf

_FREQUENCIES = 32


def power_iteration(matrices: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Returns the unit vectors (..., n) after one step towards the leading right singular vectors.

    Arguments:
        matrices: (..., m, n).
        vectors: (..., n), of any length but zero.
    """
    left = tf.math.l2_normalize(tf.reduce_sum(matrices * vectors[..., None, :], -1), -1, epsilon=1e-24)
    return tf.math.l2_normalize(tf.reduce_sum(matrices * left[..., :, None], -2), -1, epsilon=1e-24)


def gain(matrices: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Returns ||A v|| (...), a lower bound of the spectral norm that unit vectors make tight."""
    return tf.norm(tf.reduce_sum(matrices * vectors[..., None, :], -1), axis=-1)


def leading_vectors(matrices: np.ndarray) -> np.ndarray:
    """Returns the leading right singular vectors (..., n) of matrices (..., m, n), where power iteration starts."""
    return np.linalg.svd(matrices, full_matrices=False)[2][..., 0, :]


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
