"""Spectral norms against NumPy's singular values and the explicit matrix of a periodic convolution."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.lipschitz.spectral import depthwise_operator_norm, gain, leading_vectors, power_iteration


def spectral_norms(matrices):
    return np.linalg.svd(matrices, compute_uv=False)[..., 0]


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (1, 5), (5, 1)])
def test_power_iteration_converges_from_below(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(2, 3, *shape))
    vectors = tf.constant(rng.normal(size=(2, 3, shape[1])))
    gains = []
    for _ in range(300):
        vectors = power_iteration(tf.constant(matrices), vectors)
        gains.append(gain(tf.constant(matrices), vectors).numpy())
    assert (np.diff(gains, axis=0) >= -1e-12).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(gains[-1], spectral_norms(matrices), rtol=1e-6)


def test_leading_vectors_are_exact() -> None:
    matrices = np.random.default_rng(1).normal(size=(4, 6, 3))
    vectors = leading_vectors(matrices)
    np.testing.assert_allclose(gain(tf.constant(matrices), tf.constant(vectors)), spectral_norms(matrices), rtol=1e-12)
    again = power_iteration(tf.constant(matrices), tf.constant(vectors))
    np.testing.assert_allclose(again, vectors, atol=1e-12)


def test_a_zero_matrix_has_norm_zero_and_recovers() -> None:
    vectors = power_iteration(tf.zeros([3, 2]), tf.constant([1.0, 0.0]))
    assert gain(tf.zeros([3, 2]), vectors) == 0
    assert np.isfinite(vectors).all()


def circulant(window, size):
    """The matrix of the convolution of a periodic size x size image with one window."""
    matrix = np.zeros((size, size, size, size))
    for (i, j), weight in np.ndenumerate(window):
        for row in range(size):
            for column in range(size):
                matrix[row, column, (row + i) % size, (column + j) % size] += weight
    return matrix.reshape(size * size, size * size)


@pytest.mark.parametrize("size", [3, 5])
def test_depthwise_norm_is_the_one_of_the_convolution(size: int) -> None:
    """A periodic 8x8 image has every fourth of the frequencies; the largest of all is at most 2% a direction larger."""
    rng = np.random.default_rng(size)
    windows = rng.uniform(-1, 1, (6, size, size))
    ours = depthwise_operator_norm(tf.constant(windows.reshape(6, size * size, 1)), size).numpy()
    truth = np.array([np.linalg.norm(circulant(window, 8), 2) for window in windows])
    assert (truth <= ours * (1 + 1e-12)).all()
    fine = np.abs(np.fft.fft2(windows, (512, 512))).max((1, 2))
    assert (ours <= fine * (1 + 1e-12)).all()
    assert (ours >= fine * 0.98**2).all()


def test_depthwise_norm_is_the_largest_channels() -> None:
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(2, 9, 5))
    single = [depthwise_operator_norm(tf.constant(windows[..., c : c + 1]), 3) for c in range(5)]
    np.testing.assert_allclose(depthwise_operator_norm(tf.constant(windows), 3), np.max(single, 0), rtol=1e-12)


@pytest.mark.parametrize("size", [3, 5])
def test_known_windows(size: int) -> None:
    """A single weight only scales and shifts; weights of one sign add up for a constant image."""
    delta = np.zeros((size * size, 1))
    delta[2] = -0.3
    positive = np.random.default_rng(0).uniform(0, 1, (size * size, 1))
    np.testing.assert_allclose(depthwise_operator_norm(tf.constant(delta), size), 0.3, rtol=1e-12)
    np.testing.assert_allclose(depthwise_operator_norm(tf.constant(positive), size), positive.sum(), rtol=1e-12)


@settings(deadline=None, max_examples=15)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_norms_scale_with_the_kernel(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    windows, vectors = rng.normal(size=(9, 3)), tf.constant(rng.normal(size=3))
    for norm in (
        lambda kernel: depthwise_operator_norm(kernel, 3),
        lambda kernel: gain(kernel, power_iteration(kernel, vectors)),
    ):
        scaled = norm(tf.constant(-factor * windows))
        np.testing.assert_allclose(scaled, factor * norm(tf.constant(windows)), rtol=1e-9)
