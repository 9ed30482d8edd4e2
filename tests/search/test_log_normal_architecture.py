"""The log-normal alpha and beta: where they start, what is drawn, how gradients flow, what is selected."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.errors import UsageError
from racl_tf.search.architecture import sum_over_node
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.seeding import fold
from racl_tf.space import OPERATIONS

INPUTS = np.array([node for node in range(2, 6) for _ in range(node)])
INTO = [np.flatnonzero(node == INPUTS) for node in range(2, 6)]


def draw_many(architecture, count):
    draw = tf.function(lambda index: architecture(fold(0, "test", index)))
    alpha, beta = tf.map_fn(draw, tf.range(count), fn_output_signature=(tf.float32, tf.float32))
    return alpha.numpy(), beta.numpy()


def randomised(seed=0, **options):
    """Returns an architecture with random mu and sigma."""
    architecture = LogNormalArchitecture(**options)
    rng = np.random.default_rng(seed)
    for variable in architecture.trainable_variables:
        variable.assign_add(rng.normal(0, 0.5, variable.shape))
    return architecture


def sigmas(architecture):
    return [1e-3 + (1 - 1e-3) / (1 + np.exp(-logit.numpy())) for logit in architecture.sigma_logits]


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.5])
def test_starts_at_the_mean_weights_of_pc_darts(sigma: float) -> None:
    architecture = LogNormalArchitecture(sigma=sigma)
    for (mean, variance), expected in zip(architecture.parameters(), (np.array(1 / 8), 1 / INPUTS), strict=True):
        np.testing.assert_allclose(np.exp(mean + variance / 2), np.broadcast_to(expected, mean.shape), rtol=1e-5)
        np.testing.assert_allclose(variance, sigma**2, rtol=1e-4)
    for mu, start in zip(architecture.mu, architecture.initial_mu(), strict=True):
        np.testing.assert_allclose(mu, start, rtol=1e-6)


def test_draws_average_to_the_mean_weights() -> None:
    alpha, beta = draw_many(LogNormalArchitecture(sigma=0.3), 2000)
    np.testing.assert_allclose(alpha.mean(), 1 / 8, rtol=5e-3)
    np.testing.assert_allclose(beta.mean((0, 1)), 1 / INPUTS, rtol=0.03)


def test_logarithms_of_draws_are_normal_and_independent() -> None:
    """Standardised by mu and sigma they have mean 0, deviation 1 and no correlation; bounds at 5 standard errors."""
    architecture, count = randomised(), 2000
    draws = draw_many(architecture, count)
    scores = [
        ((np.log(values) - mu.numpy()) / sigma).reshape(count, -1)
        for values, mu, sigma in zip(draws, architecture.mu, sigmas(architecture), strict=True)
    ]
    joined = np.concatenate(scores, 1)
    assert np.abs(joined.mean(0)).max() < 5 / count**0.5
    assert np.abs(joined.std(0) - 1).max() < 5 / (2 * count) ** 0.5
    correlations = np.corrcoef(joined.T) - np.eye(joined.shape[1])
    assert np.abs(correlations).max() < 5.5 / count**0.5


def test_seeds_decide() -> None:
    architecture = LogNormalArchitecture()
    first, same, other = (architecture(tf.constant(seed)) for seed in ([1, 2], [1, 2], [1, 3]))
    for a, b, c in zip(first, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).numpy().all()


@pytest.mark.parametrize("normalize", ["none", "sum"])
def test_gradients_at_a_seed_equal_finite_differences(normalize: str) -> None:
    """The draw at a fixed seed is exp(mu + sigma * noise) with noise that neither mu nor sigma moves."""
    architecture, seed = randomised(normalize=normalize), tf.constant([3, 4])
    raw = LogNormalArchitecture(sigma=0.5)
    noise = [
        (np.log(values.numpy().astype(float)) - mu.numpy()) / sigma
        for values, mu, sigma in zip(raw(seed), raw.mu, sigmas(raw), strict=True)
    ]
    rng = np.random.default_rng(0)
    projections = [rng.normal(size=values.shape) for values in noise]

    def plain(point):
        mu, logits = point[::2], point[1::2]
        alpha, beta = (
            np.exp(m + (1e-3 + (1 - 1e-3) / (1 + np.exp(-logit))) * n)
            for m, logit, n in zip(mu, logits, noise, strict=True)
        )
        if normalize == "sum":
            alpha = alpha / alpha.sum(-1, keepdims=True)
            beta = np.concatenate([beta[:, edges] / beta[:, edges].sum(-1, keepdims=True) for edges in INTO], -1)
        return sum((values * p).sum() for values, p in zip((alpha, beta), projections, strict=True))

    variables = [architecture.mu_alpha, architecture.sigma_logit_alpha, architecture.mu_beta]
    variables.append(architecture.sigma_logit_beta)
    with tf.GradientTape() as tape:
        draws = architecture(seed)
        value = sum(tf.reduce_sum(draw * p) for draw, p in zip(draws, projections, strict=True))
    point = [variable.numpy().astype(float) for variable in variables]
    assert float(value) == pytest.approx(plain(point), rel=1e-4)
    for index, gradient in enumerate(tape.gradient(value, [variable.value for variable in variables])):
        for flat in rng.choice(point[index].size, 12, replace=False):
            place = np.unravel_index(flat, point[index].shape)
            ends = []
            for step in (1e-5, -1e-5):
                moved = [values.copy() for values in point]
                moved[index][place] += step
                ends.append(plain(moved))
            np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-5)


def test_normalised_draws_and_medians_sum_to_one() -> None:
    raw, normalised = randomised(), randomised(normalize="sum")
    for (alpha, beta), (raw_alpha, raw_beta) in (
        (normalised(tf.constant([0, 1])), raw(tf.constant([0, 1]))),
        (normalised.median(), raw.median()),
    ):
        np.testing.assert_allclose(tf.reduce_sum(alpha, -1), 1, rtol=1e-5)
        for edges in INTO:
            np.testing.assert_allclose(beta.numpy()[:, edges].sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(alpha[..., 1] / alpha[..., 2], raw_alpha[..., 1] / raw_alpha[..., 2], rtol=1e-4)
        np.testing.assert_allclose(beta[:, 5] / beta[:, 7], raw_beta[:, 5] / raw_beta[:, 7], rtol=1e-4)
    for ours, truth in zip(normalised.parameters(), raw.parameters(), strict=True):
        np.testing.assert_array_equal(ours, truth)


def test_sum_over_node() -> None:
    beta = np.random.default_rng(0).normal(size=(2, 14))
    for edges in INTO:
        expected = beta[:, edges].sum(-1, keepdims=True)
        ours = sum_over_node(tf.constant(beta)).numpy()[:, edges]
        np.testing.assert_allclose(ours, np.broadcast_to(expected, ours.shape), rtol=1e-12)


@settings(deadline=None, max_examples=20)
@given(logit=st.floats(-1e4, 1e4, width=32))
def test_sigma_stays_within_its_bounds(logit: float) -> None:
    architecture = LogNormalArchitecture()
    for variable in architecture.sigma_logits:
        variable.assign(tf.fill(variable.shape, logit))
    for _, variance in architecture.parameters():
        assert (variance.numpy() >= 1e-6 * (1 - 1e-6)).all()
        assert (variance.numpy() <= 1 + 1e-6).all()


def test_medians_select_the_genotype() -> None:
    """exp(mu_alpha + mu_beta) decides, whatever sigma: here one operation and two edges a node stand out."""
    architecture = randomised()
    operation = OPERATIONS.index("sep_conv_5x5")
    alpha, beta = architecture.mu_alpha.numpy(), architecture.mu_beta.numpy()
    alpha[..., operation] += 10
    alpha[..., 0] += 20
    for edges in INTO:
        beta[0, edges[-1]] += 8
        beta[0, edges[0]] += 4
        beta[1, edges[1]] += 8
        beta[1, edges[0]] += 4
    architecture.mu_alpha.assign(alpha)
    architecture.mu_beta.assign(beta)
    np.testing.assert_allclose(architecture.median()[0], np.exp(alpha), rtol=1e-5)
    np.testing.assert_allclose(architecture.edge_scores(), np.exp(alpha + beta[..., None]), rtol=1e-5)
    genotype = architecture.genotype("ours")
    assert genotype.name == "ours"
    assert genotype.normal.nodes == tuple((("sep_conv_5x5", node - 1), ("sep_conv_5x5", 0)) for node in range(2, 6))
    assert genotype.reduce.nodes == ((("sep_conv_5x5", 1), ("sep_conv_5x5", 0)),) * 4


def test_config_round_trip() -> None:
    architecture = LogNormalArchitecture(sigma=0.25, normalize="sum")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(architecture))
    for ours, truth in zip(again(tf.constant([5, 6])), architecture(tf.constant([5, 6])), strict=True):
        np.testing.assert_array_equal(ours, truth)


@pytest.mark.parametrize("sigma", [0.0, -1.0, 1e-3, 1.0, float("nan")])
def test_sigma_out_of_range(sigma: float) -> None:
    with pytest.raises(UsageError, match=r"`sigma` must be between 0.001 and 1.0.*Received: sigma="):
        LogNormalArchitecture(sigma=sigma)


def test_unknown_normalization_suggests() -> None:
    with pytest.raises(UsageError, match="Did you mean 'sum'"):
        LogNormalArchitecture(normalize="sums")
