"""Eqs. 8 to 12 against plain sums in float64, Monte Carlo, closed forms and finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.lipschitz.surrogate import (
    LogNormal,
    edge_constants,
    network_constant,
    node_constants,
    sum_of_log_normals,
)

EDGES = [(source, node) for node in range(2, 6) for source in range(node)]
INTO = {node: [index for index, edge in enumerate(EDGES) if edge[1] == node] for node in range(2, 6)}
SAMPLES = 100_000


def moments(mean, sigma):
    """Eq. 11 as printed, for weights `mean` that already hold ln(lambda); terms with -inf add nothing."""
    first = np.exp(mean + sigma**2 / 2).sum(-1)
    second = (np.exp(2 * mean + sigma**2) * (np.exp(sigma**2) - 1)).sum(-1)
    variance = np.log(second / first**2 + 1)
    return np.log(first) - variance / 2, variance


def plain_constant(mu_alpha, sigma_alpha, mu_beta, sigma_beta, log_norms, *, cell_types, scale_free):
    """mu_F and sigma_F^2, cell by cell and node by node."""
    total_mean = total_variance = 0.0
    ones = np.where(np.isinf(log_norms), -np.inf, 0)
    for cell, kind in enumerate(cell_types):
        mean, variance = moments(mu_alpha[kind] + log_norms[cell], sigma_alpha[kind])
        if scale_free:
            mean = mean - moments(mu_alpha[kind] + ones[cell], sigma_alpha[kind])[0]
        for edges in INTO.values():
            beta, spread = mu_beta[kind, edges], sigma_beta[kind, edges]
            node, node_variance = moments(beta + mean[edges], np.sqrt(spread**2 + variance[edges]))
            total_mean += node - (moments(beta, spread)[0] if scale_free else 0)
            total_variance += node_variance
    return total_mean, total_variance


def draw_parameters(seed, cells=2, largest_sigma=0.3):
    """Random mu and sigma of alpha and beta, and ln(lambda) with the zero operation."""
    rng = np.random.default_rng(seed)
    log_norms = rng.normal(-0.3, 0.5, (cells, 14, 8))
    log_norms[..., 0] = -np.inf
    return (
        rng.normal(-2, 0.5, (2, 14, 8)),
        rng.uniform(0.05, largest_sigma, (2, 14, 8)),
        rng.normal(-1, 0.5, (2, 14)),
        rng.uniform(0.05, largest_sigma, (2, 14)),
        log_norms,
    )


def log_normal(mean, sigma, dtype=tf.float64):
    return LogNormal(tf.constant(mean, dtype), tf.square(tf.constant(sigma, dtype)))


def constant_of(parameters, cell_types, *, scale_free=False, dtype=tf.float64):
    mu_alpha, sigma_alpha, mu_beta, sigma_beta, log_norms = parameters
    alpha, beta = log_normal(mu_alpha, sigma_alpha, dtype), log_normal(mu_beta, sigma_beta, dtype)
    return network_constant(alpha, beta, tf.constant(log_norms, dtype), tf.constant(cell_types), scale_free=scale_free)


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0])
def test_equal_terms(count: int, sigma: float) -> None:
    """n equal terms: sigma^2 = ln((e^v - 1) / n + 1), and the mean of the sum is n times a term's."""
    mean, variance = sum_of_log_normals(log_normal(np.full(count, -0.7), np.full(count, sigma)))
    expected = np.log((np.exp(sigma**2) - 1) / count + 1)
    np.testing.assert_allclose(variance, expected, rtol=1e-12)
    np.testing.assert_allclose(mean + variance / 2, np.log(count) - 0.7 + sigma**2 / 2, rtol=1e-12)


def test_one_term_is_itself_and_zero_adds_nothing() -> None:
    terms = log_normal([[-np.inf, 0.4, -np.inf]], [[0.3, 0.7, 1.0]])
    mean, variance = sum_of_log_normals(terms)
    np.testing.assert_allclose([mean[0], variance[0]], [0.4, 0.49], rtol=1e-12)


def test_a_node_with_one_effective_edge_multiplies_beta_and_the_edge() -> None:
    """A product adds log-variances in full, where Eq. 12 as printed halves them."""
    edges = log_normal(np.where(np.arange(14) == 6, 0.2, -np.inf), np.full(14, 0.3))
    beta = log_normal(np.full(14, -0.5), np.full(14, 0.4))
    mean, variance = node_constants(beta, edges)
    node = EDGES[6][1] - 2
    np.testing.assert_allclose([mean[node], variance[node]], [0.2 - 0.5, 0.3**2 + 0.4**2], rtol=1e-12)


@pytest.mark.parametrize("scale_free", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_equals_plain_sums(seed: int, scale_free: bool) -> None:
    parameters, cell_types = draw_parameters(seed, cells=3, largest_sigma=1.0), [0, 1, 0]
    expected = plain_constant(*parameters, cell_types=cell_types, scale_free=scale_free)
    ours = constant_of(parameters, cell_types, scale_free=scale_free)
    np.testing.assert_allclose([*map(float, ours)], expected, rtol=1e-10)


class Samples:
    """Draws of the constants of every edge and node of one cell."""

    def __init__(self, rng: np.random.Generator, parameters, kind: int) -> None:
        mu_alpha, sigma_alpha, mu_beta, sigma_beta, log_norms = parameters
        edges = [
            (
                np.exp(rng.normal(mu_alpha[kind, e], sigma_alpha[kind, e], (SAMPLES, 8))) * np.exp(log_norms[kind, e])
            ).sum(-1)
            for e in range(14)
        ]
        weighted = [
            np.exp(rng.normal(mu_beta[kind, e], sigma_beta[kind, e], SAMPLES)) * edge for e, edge in enumerate(edges)
        ]
        self.log_edges = np.log(edges)
        self.log_nodes = np.log([np.sum([weighted[e] for e in INTO[node]], 0) for node in INTO])


@pytest.mark.parametrize("seed", range(2))
def test_monte_carlo(seed: int) -> None:
    """Edges, nodes and the network of one cell of each type, for which the sum over independent nodes is exact."""
    parameters = draw_parameters(seed)
    mu_alpha, sigma_alpha, mu_beta, sigma_beta, log_norms = parameters
    edges = edge_constants(log_normal(mu_alpha, sigma_alpha), tf.constant(log_norms))
    nodes = node_constants(log_normal(mu_beta, sigma_beta), edges)
    rng = np.random.default_rng(seed)
    samples = [Samples(rng, parameters, kind) for kind in (0, 1)]
    network = sum(sample.log_nodes.sum(0) for sample in samples)
    for ours, truth in (
        (edges, np.stack([sample.log_edges for sample in samples])),
        (nodes, np.stack([sample.log_nodes for sample in samples])),
        (constant_of(parameters, [0, 1]), network),
    ):
        np.testing.assert_allclose(ours.mean, truth.mean(-1), atol=0.01)
        np.testing.assert_allclose(ours.variance, truth.var(-1), rtol=0.05)


@pytest.mark.parametrize("scale_free", [False, True])
def test_gradients_equal_finite_differences(scale_free: bool) -> None:
    parameters, cell_types, quantile = draw_parameters(3), [0, 1], 1.28
    trained = [tf.constant(values) for values in parameters[:4]]
    with tf.GradientTape() as tape:
        tape.watch(trained)
        mean, variance = constant_of((*trained, parameters[4]), cell_types, scale_free=scale_free)
        value = mean + quantile * variance
    gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(value, trained)]

    def plain(index, place, step):
        moved = [values.copy() for values in parameters]
        moved[index][place] += step
        mean, variance = plain_constant(*moved, cell_types=cell_types, scale_free=scale_free)
        return mean + quantile * variance

    rng = np.random.default_rng(0)
    for index, gradient in enumerate(gradients):
        for flat in rng.choice(gradient.numpy().size, 20, replace=False):
            place = np.unravel_index(flat, gradient.shape)
            difference = (plain(index, place, 1e-5) - plain(index, place, -1e-5)) / 2e-5
            np.testing.assert_allclose(gradient[place], difference, rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(gradients[0][..., 0], 0)
    np.testing.assert_array_equal(gradients[1][..., 0], 0)


def test_log_norms_are_constants() -> None:
    *weights, log_norms = draw_parameters(0)
    log_norms = tf.constant(log_norms)
    with tf.GradientTape() as tape:
        tape.watch(log_norms)
        mean, _ = network_constant(log_normal(*weights[:2]), log_normal(*weights[2:]), log_norms, tf.constant([0, 1]))
    assert tape.gradient(mean, log_norms) is None


def test_cells_add_up() -> None:
    """Eight cells, two of them reductions, are the sum of eight networks of one cell."""
    cell_types = [0, 0, 1, 0, 0, 1, 0, 0]
    *weights, log_norms = draw_parameters(1, cells=8)
    total = constant_of((*weights, log_norms), cell_types)
    single = [constant_of((*weights, log_norms[k : k + 1]), [kind]) for k, kind in enumerate(cell_types)]
    np.testing.assert_allclose(total.mean, sum(constant.mean for constant in single), rtol=1e-12)
    np.testing.assert_allclose(total.variance, sum(constant.variance for constant in single), rtol=1e-12)


shifts = st.floats(-3, 3)


@settings(deadline=None, max_examples=15)
@given(shift=shifts, edge=st.integers(0, 13), node=st.integers(2, 5), node_shift=shifts)
def test_scale_free_ignores_common_factors(shift: float, edge: int, node: int, node_shift: float) -> None:
    parameters = draw_parameters(4)
    moved = [values.copy() for values in parameters]
    moved[0][0, edge] += shift
    moved[2][1, INTO[node]] += node_shift
    before, after = (constant_of(values, [0, 1], scale_free=True) for values in (parameters, moved))
    np.testing.assert_allclose(after, before, rtol=1e-9)


@settings(deadline=None, max_examples=15)
@given(alpha=shifts, beta=shifts)
def test_the_papers_constant_follows_common_factors(alpha: float, beta: float) -> None:
    """A factor in all alpha and one in all beta appear once in each of the 4 nodes of each cell."""
    parameters = draw_parameters(4)
    moved = [parameters[0] + alpha, parameters[1], parameters[2] + beta, *parameters[3:]]
    before, after = (constant_of(values, [0, 1]) for values in (parameters, moved))
    np.testing.assert_allclose(after.mean - before.mean, 2 * 4 * (alpha + beta), atol=1e-9)
    np.testing.assert_allclose(after.variance, before.variance, rtol=1e-9)


def test_scale_free_sees_a_shift_between_operations() -> None:
    """Moving weight to the operation of smallest norm lowers the constant, moving it to the largest raises it."""
    parameters = draw_parameters(5)
    before = constant_of(parameters, [0, 1], scale_free=True).mean
    norms = parameters[4][0, 3, 1:]
    for operation, sign in ((norms.argmin(), -1), (norms.argmax(), 1)):
        moved = [values.copy() for values in parameters]
        moved[0][0, 3, 1 + operation] += 2
        assert sign * (constant_of(moved, [0, 1], scale_free=True).mean - before) > 0.01


def test_scale_free_of_unit_norms_is_zero() -> None:
    """With every lambda = 1 and fixed edges there is nothing left but the variance of the edges' sums."""
    *weights, log_norms = draw_parameters(6)
    weights[1] = np.full_like(weights[1], 1e-3)
    constant = constant_of((*weights, np.where(np.isinf(log_norms), -np.inf, 0)), [0, 1], scale_free=True)
    np.testing.assert_allclose(constant.mean, 0, atol=1e-5)


@pytest.mark.parametrize("scale_free", [False, True])
@pytest.mark.parametrize("level", [-30.0, 0.0, 30.0])
@pytest.mark.parametrize("sigma", [1e-3, 1.0])
def test_float32_at_the_extremes(sigma: float, level: float, scale_free: bool) -> None:
    mu_alpha, sigma_alpha, mu_beta, sigma_beta, log_norms = draw_parameters(7)
    parameters = (
        10 * mu_alpha + level,
        np.full_like(sigma_alpha, sigma),
        mu_beta + level,
        np.full_like(sigma_beta, sigma),
        20 * log_norms,
    )
    truth = constant_of(parameters, [0, 1], scale_free=scale_free)
    trained = [tf.constant(values, tf.float32) for values in parameters[:4]]
    with tf.GradientTape() as tape:
        tape.watch(trained)
        ours = constant_of((*trained, parameters[4]), [0, 1], scale_free=scale_free, dtype=tf.float32)
    np.testing.assert_allclose(ours.mean, truth.mean, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(ours.variance, truth.variance, rtol=1e-3)
    for gradient in tape.gradient(ours, trained):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()
