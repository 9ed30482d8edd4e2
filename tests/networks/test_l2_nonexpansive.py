"""The L2-nonexpansive network: its guarantee on any weights, its bounds against exact norms, its parts."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.errors import UsageError
from racl_tf.networks.l2_nonexpansive import (
    L2Nonexpansive,
    norm_pool,
    squared_convolution_bound,
    squared_norm_bound,
    two_sided_relu,
)

SIZES = [(8, 8, 1), (5, 7, 3), (1, 1, 1), (28, 28, 1)]


def random_network(shape: tuple[int, int, int], seed: int) -> L2Nonexpansive:
    """A network whose weights are far from the initial ones: smooth kernels, which amplify most, and noise."""
    rng = np.random.default_rng(seed)
    network = L2Nonexpansive(4, channels=2, input_shape=shape, mean=0.4, std=0.1)
    for matrix, bias in zip(network.matrices, network.biases, strict=True):
        matrix.assign(rng.normal(rng.choice([0, 1]), rng.choice([0.1, 1]), matrix.shape) * rng.choice([1e-2, 1, 1e2]))
        bias.assign(rng.normal(0, 0.1, bias.shape))
    return network


@pytest.mark.parametrize("shape", SIZES)
def test_jacobians_have_no_singular_value_above_one(shape: tuple[int, int, int]) -> None:
    for seed in range(3):
        network = random_network(shape, seed)
        images = tf.constant(np.random.default_rng(seed).random([3, *shape]), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = network(images)
        jacobians = tape.batch_jacobian(logits, images).numpy().reshape(3, 4, -1)
        assert np.linalg.norm(jacobians, 2, axis=(1, 2)).max() <= 1 + 1e-4


@given(st.integers(0, 2**31), st.sampled_from([1e-2, 1.0]))
@settings(deadline=None, max_examples=20)
def test_logits_are_no_further_apart_than_images(seed: int, distance: float) -> None:
    rng = np.random.default_rng(seed)
    network = random_network((8, 8, 1), seed)
    first = rng.random([8, 8, 8, 1])
    second = first + distance * rng.normal(size=first.shape)
    pair = [tf.constant(images, tf.float32) for images in (first, second)]
    apart = np.linalg.norm((pair[1] - pair[0]).numpy().reshape(8, -1), axis=-1)
    moved = np.linalg.norm((network(pair[1]) - network(pair[0])).numpy(), axis=-1)
    assert (moved <= apart * (1 + 1e-4) + 1e-5).all()


def pass_through() -> L2Nonexpansive:
    """A network of one pixel whose first logit is the pixel itself, as far as it is above the mean."""
    network = L2Nonexpansive(3, channels=1, input_shape=(1, 1, 1), mean=0.4)
    for matrix in network.matrices[:2]:
        matrix.assign(np.pad(np.eye(*matrix.shape[2:])[None, None], [(2, 2), (2, 2), (0, 0), (0, 0)]))
    for matrix in network.matrices[2:]:
        matrix.assign(np.eye(*matrix.shape))
    return network


def test_guarantee_is_reached() -> None:
    pixels = np.array([0.5, 0.7, 1.0], np.float32)
    logits = pass_through()(pixels.reshape(3, 1, 1, 1))
    np.testing.assert_allclose(logits, np.stack([pixels - 0.4, 0 * pixels, 0 * pixels], 1), atol=1e-5)


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6))
@settings(deadline=None, max_examples=20)
def test_norm_bound_of_matrices(seed: int, rows: int, columns: int) -> None:
    """At least the square of the norm, and exactly that of orthonormal columns or rows."""
    matrix = np.random.default_rng(seed).normal(size=[rows, columns])
    bound = squared_norm_bound(tf.constant(matrix)).numpy()
    norm = np.linalg.norm(matrix, 2) ** 2
    assert norm * (1 - 1e-9) <= bound <= min(rows, columns) ** 0.5 * norm * (1 + 1e-9)
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    assert squared_norm_bound(tf.constant(left @ right)).numpy() == pytest.approx(1)


@pytest.mark.parametrize("size", [(6, 6), (4, 7), (1, 1)])
@pytest.mark.parametrize("channels", [(1, 1), (2, 3), (3, 2)])
def test_convolution_bound_against_the_dense_matrix(size: tuple[int, int], channels: tuple[int, int]) -> None:
    kernel = tf.constant(np.random.default_rng(0).normal(size=[5, 5, *channels]), tf.float32)
    basis = np.eye(size[0] * size[1] * channels[0], dtype=np.float32).reshape(-1, *size, channels[0])
    dense = tf.reshape(tf.nn.conv2d(basis, kernel, 1, "SAME"), [len(basis), -1]).numpy()
    norm = np.linalg.norm(dense, 2) ** 2
    bound = float(squared_convolution_bound(kernel, size))
    assert norm <= bound * (1 + 1e-5)
    torus = np.fft.fft2(kernel.numpy(), (size[0] + 4, size[1] + 4), axes=(0, 1))
    exact = max(np.linalg.norm(torus[i, j], 2) ** 2 for i, j in np.ndindex(*torus.shape[:2]))
    assert norm <= exact * (1 + 1e-5)
    assert exact * (1 - 1e-5) <= bound <= 2**0.5 * exact * (1 + 1e-5)


def test_two_sided_relu_and_norm_pool_keep_the_norm() -> None:
    """Of everything, and of the windows by hand, at odd sizes too; their slope is finite at 0."""
    x = tf.constant(np.random.default_rng(0).normal(size=[3, 5, 6, 2]), tf.float32)
    doubled = two_sided_relu(x)
    assert doubled.shape == (3, 5, 6, 4)
    assert float(tf.reduce_min(doubled)) >= 0
    np.testing.assert_allclose(doubled[..., :2] - doubled[..., 2:], x)
    pooled = norm_pool(x).numpy()
    assert pooled.shape == (3, 3, 3, 2)
    for i, j in np.ndindex(3, 3):
        truth = np.sqrt((x.numpy()[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] ** 2).sum((1, 2)))
        np.testing.assert_allclose(pooled[:, i, j], truth, rtol=1e-5)
    zeros = tf.zeros([1, 2, 2, 1])
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        total = tf.reduce_sum(norm_pool(zeros))
    assert (tape.gradient(total, zeros).numpy() == 0).all()


def test_only_the_mean_is_taken_off() -> None:
    """Images that differ by a shift of the mean give the same logits, and the standard deviation does not matter."""
    options: dict[str, Any] = {"channels": 2, "input_shape": (6, 6, 1), "seed": 3}
    x = np.random.default_rng(0).uniform(0, 0.5, [4, 6, 6, 1]).astype(np.float32)
    plain = L2Nonexpansive(5, **options)(x)
    np.testing.assert_allclose(L2Nonexpansive(5, mean=0.25, std=0.1, **options)(x + 0.25), plain, rtol=1e-3, atol=1e-6)
    with pytest.raises(UsageError, match="channels=0"):
        L2Nonexpansive(5, channels=0)
