"""Plain alpha and beta: where they start, their constant (Eq. 10), and softmax and DARTS as special cases."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.lipschitz.surrogate import network_constant
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.point_architecture import PointArchitecture
from racl_tf.space import EDGES, Cell, Genotype

INPUTS = np.array([node for node in range(2, 6) for _ in range(node)])
INTO = [np.flatnonzero(node == INPUTS) for node in range(2, 6)]
SEED = tf.constant([0, 1])
CELL_TYPES = [0, 1, 0]


def moved(seed: int = 0, **options: Any) -> PointArchitecture:
    architecture = PointArchitecture(**options)
    rng = np.random.default_rng(seed)
    for variable in architecture.trainable_variables:
        variable.assign_add(rng.normal(0, 0.5, variable.shape))
    return architecture


def norms(seed: int = 1) -> np.ndarray:
    """ln(lambda) of three cells, with zero's -inf."""
    values = np.random.default_rng(seed).normal(0, 0.7, (len(CELL_TYPES), len(EDGES), 8)).astype(np.float32)
    values[..., 0] = -np.inf
    return values


def constant(architecture: PointArchitecture) -> tuple[tf.Tensor, tf.Tensor]:
    return network_constant(*architecture.parameters(), tf.constant(norms()), tf.constant(CELL_TYPES))


def equation_10(alpha: np.ndarray, beta: np.ndarray) -> float:
    """ln prod_k prod_j sum_i beta_ij sum_o alpha_o lambda_o, term by term."""
    total = 0.0
    for kind, lambdas in zip(CELL_TYPES, np.exp(norms().astype(np.float64)), strict=True):
        for edges in INTO:
            total += np.log(
                sum(beta[kind, e] * sum(alpha[kind, e, o] * lambdas[e, o] for o in range(8)) for e in edges)
            )
    return total


def test_starts_at_the_weights_of_pc_darts() -> None:
    architecture = PointArchitecture()
    alpha, beta = architecture(SEED)
    np.testing.assert_allclose(alpha, np.full((2, 14, 8), 1 / 8), rtol=1e-6)
    np.testing.assert_allclose(beta, np.tile(1 / INPUTS, (2, 1)), rtol=1e-6)
    for mu, start in zip(architecture.mu, architecture.initial_mu(), strict=True):
        np.testing.assert_array_equal(mu, start)


def test_its_constant_is_equation_10_without_any_spread() -> None:
    architecture = moved()
    mean, variance = constant(architecture)
    assert float(mean) == pytest.approx(equation_10(*(np.exp(mu.numpy().astype(float)) for mu in architecture.mu)))
    assert float(variance) == 0.0


def test_the_constant_s_gradient_is_that_of_equation_10() -> None:
    architecture = moved()
    with tf.GradientTape() as tape:
        mean, _ = constant(architecture)
    point = [mu.numpy().astype(float) for mu in architecture.mu]
    rng = np.random.default_rng(2)
    gradients = map(tf.convert_to_tensor, tape.gradient(mean, [mu.value for mu in architecture.mu]))
    for index, gradient in enumerate(gradients):
        assert np.isfinite(gradient.numpy()).all()
        for flat in rng.choice(point[index].size, 10, replace=False):
            place = np.unravel_index(flat, point[index].shape)
            ends = []
            for step in (1e-6, -1e-6):
                shifted = [values.copy() for values in point]
                shifted[index][place] += step
                ends.append(equation_10(*map(np.exp, shifted)))
            np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-6, rtol=1e-3, atol=1e-5)


def test_is_what_the_log_normal_architecture_comes_to_without_sigma() -> None:
    point, narrow = moved(), LogNormalArchitecture(sigma=2e-3)
    for ours, other in zip(point.mu, narrow.mu, strict=True):
        other.assign(ours.numpy())
    np.testing.assert_allclose(constant(narrow)[0], constant(point)[0], rtol=1e-4)
    for drawn, fixed in zip(narrow(SEED), point(SEED), strict=True):
        np.testing.assert_allclose(drawn, fixed, rtol=0.02)


def test_normalised_it_is_the_softmax_of_pc_darts() -> None:
    architecture = moved(normalize="sum")
    alpha_logits, beta_logits = (mu.numpy().astype(float) for mu in architecture.mu)
    alpha, beta = architecture(SEED)
    np.testing.assert_allclose(alpha, np.exp(alpha_logits) / np.exp(alpha_logits).sum(-1, keepdims=True), rtol=1e-5)
    for edges in INTO:
        weights = np.exp(beta_logits[:, edges])
        np.testing.assert_allclose(beta.numpy()[:, edges], weights / weights.sum(-1, keepdims=True), rtol=1e-5)


def test_normalised_weights_select_the_genotype_not_raw_logits() -> None:
    """An edge whose logits are all large is no better than its normalised weights say (as PC-DARTS selects)."""
    architecture = PointArchitecture(normalize="sum")
    alpha = np.zeros((2, 14, 8))
    alpha[..., 4] = 1.0  # the best operation everywhere
    alpha[:, 8:14] += np.array([0, 0, 5, 5, 0, 0])[None, :, None]  # large logits, equal weights
    alpha[:, [9, 13], 5] = 3.0
    architecture.mu_alpha.assign(alpha)
    genotype = architecture.genotype()
    assert [edge for edge in genotype.normal.nodes[3]] == [("sep_conv_5x5", 0), ("sep_conv_5x5", 4)]
    assert isinstance(genotype, Genotype)
    assert isinstance(genotype.reduce, Cell)


def test_without_edges_beta_is_one_and_fixed() -> None:
    architecture = moved(normalize="sum", edges=False)
    alpha, beta = architecture(SEED)
    np.testing.assert_array_equal(beta, np.ones((2, 14)))
    assert architecture.trainable_variables == [architecture.mu_alpha]
    np.testing.assert_allclose(architecture.edge_scores(), alpha, rtol=1e-6)


def test_config_round_trip_and_errors() -> None:
    architecture = PointArchitecture(normalize="sum", edges=False)
    again = PointArchitecture.from_config(architecture.get_config())
    assert (again.normalization, again.edges) == ("sum", False)
    with pytest.raises(UsageError, match="Did you mean 'sum'"):
        PointArchitecture(normalize="sums")
