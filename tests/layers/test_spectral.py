"""Norms against the explicit matrices of convolutions and pools: exact where they say so, else bounds."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.layers import functional
from racl_tf.layers.spectral import (
    average_pool_norm,
    convolution_bound,
    depthwise_bounds,
    depthwise_operator_norm,
    max_pool_bound,
)

ROUNDING = 1 + 1e-5


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
    windows = np.random.default_rng(seed).normal(size=(9, 3))
    scaled = depthwise_operator_norm(tf.constant(-factor * windows), 3)
    np.testing.assert_allclose(scaled, factor * depthwise_operator_norm(tf.constant(windows), 3), rtol=1e-9)


def true_norm(function, shape) -> float:
    """Returns the largest singular value of a linear map of images."""
    pixels = np.prod(shape)
    rows = function(tf.constant(np.eye(pixels).reshape(pixels, *shape), tf.float32)).numpy()
    return float(np.linalg.norm(rows.reshape(pixels, -1), 2))


sides = st.integers(1, 9)


@settings(deadline=None, max_examples=25)
@given(sides, sides, st.sampled_from([3, 5]), st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.integers(0, 99))
def test_depthwise_bounds_hold(height, width, window, stride, dilation, seed) -> None:
    kernel = np.random.default_rng(seed).normal(size=(window, window, 2))
    bounds = depthwise_bounds(kernel, (height, width), stride=stride, dilation=dilation)
    for channel, bound in enumerate(bounds):
        own = tf.constant(kernel[..., channel, None, None], tf.float32)
        truth = true_norm(lambda x, own=own: functional.depthwise(x, own, stride, dilation), (height, width, 1))
        assert truth <= bound * ROUNDING


@pytest.mark.parametrize(("window", "stride", "dilation"), [(3, 1, 1), (5, 2, 1), (3, 1, 2)])
def test_depthwise_bounds_are_tight_on_large_images(window: int, stride: int, dilation: int) -> None:
    kernel = np.random.default_rng(1).normal(size=(window, window, 1))
    (bound,) = depthwise_bounds(kernel, (28, 28), stride=stride, dilation=dilation)
    own = tf.constant(kernel[..., None], tf.float32)
    truth = true_norm(lambda x: functional.depthwise(x, own, stride, dilation), (28, 28, 1))
    assert truth <= bound <= 1.04 * truth


def test_one_pixel_meets_the_centre_of_a_kernel_alone() -> None:
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3))
    np.testing.assert_allclose(depthwise_bounds(kernel, (1, 1)), np.abs(kernel[2, 2]))


def test_a_mean_has_norm_one_and_a_difference_two() -> None:
    """Closed forms: at frequency 0 a mean passes all; at the highest a difference of neighbours doubles."""
    mean, difference = np.full((3, 3, 1), 1 / 9), np.zeros((3, 3, 1))
    difference[1, 1:, 0] = 1, -1
    assert depthwise_bounds(mean, (9, 9)) == pytest.approx(1)
    assert depthwise_bounds(difference, (9, 9)) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize(
    ("window", "size", "strides"),
    [((3, 3), (8, 8), (1, 1)), ((3, 3), (1, 5), (1, 1)), ((7, 1), (9, 6), (2, 1)), ((1, 7), (8, 8), (1, 2))],
)
def test_dense_convolutions(window, size, strides) -> None:
    kernel = np.random.default_rng(0).normal(size=(*window, 2, 3))
    own = tf.constant(kernel, tf.float32)
    truth = true_norm(lambda x: functional.convolution(x, own, strides), (*size, 2))
    assert truth <= convolution_bound(kernel, size, strides=strides) * ROUNDING <= 1.3 * truth


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_the_norm_of_a_pointwise_convolution_is_its_matrix_s(strides) -> None:
    kernel = np.random.default_rng(0).normal(size=(1, 1, 4, 3))
    assert convolution_bound(kernel, (6, 5), strides=strides) == pytest.approx(np.linalg.norm(kernel[0, 0], 2))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (8, 5)])
class TestPools:
    def test_average_pool_is_exact(self, size, stride: int) -> None:
        truth = true_norm(lambda x: functional.average_pool(x, stride), (*size, 1))
        assert average_pool_norm(size, stride) == pytest.approx(truth, rel=1e-5)

    def test_max_pool_is_attained_by_a_single_pixel(self, size, stride: int) -> None:
        pixels = np.eye(np.prod(size), dtype=np.float32).reshape(-1, *size, 1)
        moved = functional.max_pool(tf.constant(pixels), stride).numpy()
        assert max_pool_bound(size, stride) == pytest.approx(np.linalg.norm(moved, axis=(1, 2)).max())

    def test_max_pool_is_never_exceeded(self, size, stride: int) -> None:
        rng = np.random.default_rng(0)
        x, other = (tf.constant(rng.random((200, *size, 1)), tf.float32) for _ in range(2))
        moved = functional.max_pool(x, stride) - functional.max_pool(other, stride)
        ratios = tf.norm(moved, axis=(1, 2)) / tf.norm(x - other, axis=(1, 2))
        assert ratios.numpy().max() <= max_pool_bound(size, stride) * ROUNDING


def test_max_pool_of_large_images() -> None:
    assert (max_pool_bound((32, 32), 1), max_pool_bound((32, 32), 2)) == (3, 2)
