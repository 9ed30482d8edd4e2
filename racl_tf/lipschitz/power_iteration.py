"""Spectral norms of stacks of matrices that change a little from step to step, as pure functions."""

import numpy as np
import tensorflow as tf


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
