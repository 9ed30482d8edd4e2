"""Directions are steepest, projections nearest, starts uniform in the ball."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kstest

from racl_tf.attacks import NORMS, image_seeds
from racl_tf.seeding import fold

length = {"linf": lambda v: np.abs(v).max(axis=-1), "l2": lambda v: np.linalg.norm(v, axis=-1)}
dual = {"linf": lambda v: np.abs(v).sum(axis=-1), "l2": length["l2"]}
vectors = arrays(np.float32, (3, 5), elements=st.floats(-10, 10, width=16))


@pytest.mark.parametrize("norm", NORMS)
@given(gradient=vectors)
@settings(deadline=None, max_examples=30)
def test_direction_reaches_the_dual_norm(norm, gradient) -> None:
    direction = NORMS[norm].direction(tf.constant(gradient)).numpy()
    np.testing.assert_allclose((direction * gradient).sum(axis=-1), dual[norm](gradient), rtol=1e-5)
    assert (length[norm](direction) <= 1 + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
@given(delta=vectors, other=vectors, eps=st.floats(0.01, 5))
@settings(deadline=None, max_examples=30)
def test_projection_is_the_nearest_point_of_the_ball(norm, delta, other, eps) -> None:
    """P is the nearest point of a convex set where <delta - P, z - P> <= 0 for every z of the set."""
    projected = NORMS[norm].project(tf.constant(delta), eps).numpy().astype(float)
    assert (length[norm](projected) <= eps * (1 + 1e-6)).all()
    inside = eps * other / np.maximum(length[norm](other), eps)[:, None]
    assert (((delta - projected) * (inside - projected)).sum(axis=-1) <= 1e-4).all()


@pytest.mark.parametrize("norm", NORMS)
def test_zero_stays_zero(norm) -> None:
    zero = tf.zeros([2, 3, 3, 1])
    assert not np.any(NORMS[norm].direction(zero))
    assert not np.any(NORMS[norm].project(zero, 0.1))


@pytest.mark.parametrize("scale", [1e-8, 1e-30])
def test_l2_direction_of_a_tiny_gradient_has_full_length(scale) -> None:
    direction = NORMS["l2"].direction(tf.constant([[3.0, -4.0]]) * scale)
    np.testing.assert_allclose(direction, [[0.6, -0.8]], rtol=1e-5)


def starts(norm, seeds, eps):
    return tf.function(NORMS[norm].start)(seeds, tf.zeros([len(seeds), 3, 1, 1]), eps).numpy().reshape(-1, 3)


def test_starts_are_uniform_in_the_ball() -> None:
    seeds = image_seeds(fold(0, "test"), tf.range(500))
    box = starts("linf", seeds, 0.5)
    assert kstest(box.ravel(), "uniform", args=(-0.5, 1.0)).pvalue > 0.01
    ball = starts("l2", seeds, 0.5)
    volume_inside = (length["l2"](ball) / 0.5) ** 3
    assert kstest(volume_inside, "uniform").pvalue > 0.01
    height = ball[:, 0] / length["l2"](ball)  # uniform on a sphere of 3 dimensions (Archimedes)
    assert kstest(height, "uniform", args=(-1.0, 2.0)).pvalue > 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_start_depends_on_the_seed_of_the_image_alone(norm) -> None:
    seeds = image_seeds(fold(0, "test"), tf.range(4))
    noise = starts(norm, seeds, 0.1)
    np.testing.assert_array_equal(starts(norm, seeds[::-1], 0.1), noise[::-1])
    assert len(np.unique(noise, axis=0)) == 4
