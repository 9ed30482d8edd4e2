"""Power iteration against NumPy's singular values."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.lipschitz.power_iteration import gain, leading_vectors, power_iteration


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


@settings(deadline=None, max_examples=15)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_norms_scale_with_the_matrix(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, vectors = rng.normal(size=(9, 3)), tf.constant(rng.normal(size=3))

    def norm(values: np.ndarray) -> tf.Tensor:
        return gain(tf.constant(values), power_iteration(tf.constant(values), vectors))

    np.testing.assert_allclose(norm(-factor * matrix), factor * norm(matrix), rtol=1e-9)
