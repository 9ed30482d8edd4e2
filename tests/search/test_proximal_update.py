"""The two updates of the constraint in the linear model of c, and the proximal step replayed by hand.

Near the target c is linear in what is trained: c = c_0 + <a, x>. Then an update is a linear map of (c, theta), which
shows whether it settles: the printed one has the determinant 1, the proximal one 1 / (1 + g rho), g = step ||a||^2.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.data import load_dataset, search_batches
from racl_tf.lipschitz.surrogate import LogNormal, network_constant
from racl_tf.networks.supernet import Supernet
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.point_architecture import PointArchitecture
from racl_tf.search.racl_search import RACLSearch

SLOPES = np.array([3.0, -1.0, 0.5])  # a


def linear_step(constraint: ConfidenceConstraint, x: tf.Tensor, length: float) -> tf.Tensor:
    """Returns x after one update of x and theta by the constraint's own methods, c = <a, x>."""
    slopes = tf.constant(SLOPES, tf.float32)

    def violation(point: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(slopes * point)

    before = violation(x)
    if constraint.proximal:
        x = x + constraint.proximal_factor(before, tf.reduce_sum(slopes**2)) * slopes
        constraint.update_dual(violation(x))
        return x
    with tf.GradientTape() as tape:
        tape.watch(x)
        penalty = constraint.penalty(violation(x))
    x = x - length * tape.gradient(penalty, x)
    constraint.update_dual(before)
    return x


def linear_map(update: str, g: float, rho: float) -> np.ndarray:
    """Returns the matrix that takes (c, theta) to those after an update, from what it does with unit vectors."""
    length = g / float(SLOPES @ SLOPES)
    constraint = ConfidenceConstraint(update=update, rho=rho, step=length, form="equality")
    columns = []
    for c, theta in ((1.0, 0.0), (0.0, 1.0)):
        constraint.theta.assign(theta)
        x = linear_step(constraint, tf.constant(c * SLOPES / (SLOPES @ SLOPES), tf.float32), length)
        columns.append([float(SLOPES @ x.numpy()), float(constraint.theta)])
    return np.array(columns).T


@pytest.mark.parametrize("g", [1.0, 60.0, 1000.0])
@pytest.mark.parametrize("rho", [1e-3, 1e-2, 1.0])
def test_the_maps_of_the_linear_model(g: float, rho: float) -> None:
    printed, proximal = (linear_map(update, g, rho) for update in ("printed", "proximal"))
    np.testing.assert_allclose(printed, [[1 - g * rho, -g], [rho, 1]], rtol=1e-4, atol=1e-5)
    assert np.linalg.det(printed) == pytest.approx(1, rel=1e-3, abs=1e-3 * g * rho)
    small = 1 / (1 + g * rho)
    np.testing.assert_allclose(
        proximal, [[small, -g * small], [rho * small, 1 - g * rho * small]], rtol=1e-3, atol=1e-5
    )
    assert np.linalg.det(proximal) == pytest.approx(small, rel=1e-3)
    assert np.abs(np.linalg.eigvals(proximal)).max() < 1


@pytest.mark.parametrize("form", ["equality", "inequality"])
@pytest.mark.parametrize("g", [1.0, 60.0, 1000.0])
@pytest.mark.parametrize("rho", [1e-3, 1e-2, 1.0])
def test_c_settles_in_the_proximal_way(g: float, rho: float, form: str) -> None:
    """To 0, or for the inequality to at most 0, with an amplitude that falls as det^(n / 2)."""
    length = g / float(SLOPES @ SLOPES)
    constraint = ConfidenceConstraint(update="proximal", rho=rho, step=length, form=form)
    steps = min(int(2 * math.log(1e3) / math.log1p(g * rho)) + 10, 20_000)

    @tf.function(autograph=False)
    def run(x: tf.Tensor) -> tf.Tensor:
        body = lambda count, x: (count + 1, linear_step(constraint, x, length))  # noqa: E731
        return tf.while_loop(lambda count, _: count < steps, body, (0, x))[1]

    last = float(SLOPES @ run(tf.constant(6.0 * SLOPES / (SLOPES @ SLOPES), tf.float32)).numpy())
    assert last < 0.05
    assert last > (-0.05 if form == "equality" else -7)


def test_the_printed_way_goes_on_swinging() -> None:
    constraint = ConfidenceConstraint(update="printed", rho=1e-2)
    x, seen = tf.constant(6.0 * SLOPES / (SLOPES @ SLOPES), tf.float32), []
    for _ in range(400):
        x = linear_step(constraint, x, 60.0 / float(SLOPES @ SLOPES))
        seen.append(float(SLOPES @ x.numpy()))
    assert max(np.abs(seen[-40:])) > 5


def make_search(constraint: ConfidenceConstraint | None, **options) -> RACLSearch:
    supernet = Supernet(10, channels=4, cells=2, input_shape=(8, 8, 1), mean=0.3, std=0.4, seed=1)
    architecture = options.pop("architecture", None) or LogNormalArchitecture(sigma=0.2)
    search = RACLSearch(supernet, architecture, constraint, seed=5, norms_batch_norm=True, **options)
    search.compile(architecture_optimizer=keras.optimizers.Adam(6e-3, beta_1=0.5), run_eagerly=True)
    return search


@pytest.fixture(scope="module")
def batches() -> list:
    data = load_dataset("digits", train_size=72).train
    return list(search_batches(data.take(range(36)), data.take(range(36, 72)), 12, seed=0).take(3))


def parameters(search: RACLSearch) -> list[np.ndarray]:
    """mu of alpha and beta, then sigma of alpha and beta."""
    return [value.numpy().astype(np.float64) for value in (*search.architecture.mu, *search.architecture.sigma())]


def constant_of(values: list[tf.Tensor], log_norms: tf.Tensor, scale_free: bool) -> LogNormal:
    alpha, beta, sigma_alpha, sigma_beta = values
    types = tf.constant([1, 1])
    pair = LogNormal(alpha, sigma_alpha**2), LogNormal(beta, sigma_beta**2)
    return network_constant(*pair, log_norms, types, scale_free=scale_free, shared=True)


@pytest.mark.parametrize("scale_free", [False, True])
@pytest.mark.parametrize("form", ["equality", "inequality"])
def test_steps_replayed(form: str, scale_free: bool, batches: list) -> None:
    """What the loss does is what a search without a constraint does; the rest is the step on c and the dual."""
    rho, length, reduction, quantile = 0.05, 0.3, 2.0, 1.2815516
    constraint = ConfidenceConstraint(
        update="proximal", rho=rho, step=length, reduction=reduction, form=form, scale_free=scale_free
    )
    search, free = make_search(constraint), make_search(None)
    start, theta = [tf.constant(value, tf.float32) for value in parameters(search)], 0.0
    measured: list[tf.Tensor] = []
    measure = search.norms.measure

    def remember(*, keep: bool = True) -> tf.Tensor:
        measured.append(measure(keep=keep))
        return measured[-1]

    search.norms.measure = remember  # type: ignore[method-assign]
    for batch in batches:
        for ours, other in zip(free.supernet.variables, search.supernet.variables, strict=True):
            ours.assign(other.numpy())
        before = [tf.constant(value, tf.float32) for value in parameters(search)]
        for ours, other in zip(free.architecture.variables, search.architecture.variables, strict=True):
            ours.assign(other.numpy())
        logs = {name: float(value) for name, value in search.train_step(batch).items()}
        free.train_step(batch)
        log_norms = measured[-1]
        reference = constant_of(start, log_norms, scale_free)
        target = float(reference.mean) + quantile * math.sqrt(float(reference.variance)) - reduction
        with tf.GradientTape() as tape:
            tape.watch(before)
            constant = constant_of(before, log_norms, scale_free)
            c = constant.mean + quantile * tf.sqrt(constant.variance) - target
        gradients = [tf.convert_to_tensor(g).numpy().astype(np.float64) for g in tape.gradient(c, before)]
        multiplier = theta + rho * float(c)
        multiplier = max(multiplier, 0.0) if form == "inequality" else multiplier
        squared = sum(np.sum(gradient**2) for gradient in gradients)
        factor = -length * multiplier / (1 + rho * length * squared)
        expected = [value + factor * gradient for value, gradient in zip(parameters(free), gradients, strict=True)]
        for ours, truth in zip(parameters(search), expected, strict=True):
            np.testing.assert_allclose(ours, truth, atol=2e-6)
        after = constant_of([tf.constant(value, tf.float32) for value in parameters(search)], log_norms, scale_free)
        violation = float(after.mean) + quantile * math.sqrt(float(after.variance)) - target
        theta = theta + rho * violation
        theta = max(theta, 0.0) if form == "inequality" else theta
        assert logs["constraint"] == pytest.approx(violation, abs=1e-4)
        assert logs["theta"] == pytest.approx(theta, abs=1e-5)
        assert logs["sigma_F"] == pytest.approx(math.sqrt(float(after.variance)), rel=1e-4)


def test_without_confidence_only_mu_moves(batches: list) -> None:
    search = make_search(
        ConfidenceConstraint(update="proximal", rho=0.05, reduction=2.0), architecture=PointArchitecture()
    )
    before = [mu.numpy().copy() for mu in search.architecture.mu]
    logs = search.train_step(batches[0])
    assert math.isfinite(float(logs["constraint"]))
    assert float(logs["sigma_F"]) == 0
    assert all((mu.numpy() != old).any() for mu, old in zip(search.architecture.mu, before, strict=True))


def test_sigma_stays_in_its_range() -> None:
    architecture = LogNormalArchitecture(sigma=0.2)
    still = [tf.zeros_like(mu) for mu in architecture.mu]
    for step, end in ((-9.0, 0.011), (9.0, 0.99)):
        architecture.shift(still, [tf.fill(sigma.shape, step) for sigma in architecture.sigma()])
        np.testing.assert_allclose(architecture.sigma()[0], np.full((2, 14, 8), end), rtol=0.01)


def test_shared_draws_make_the_probability_true() -> None:
    """At c = 0 in the proximal way Pr[lambda_F <= lambda*] is eta: Monte Carlo of the product of Eq. 10 itself."""
    rng, cells, samples = np.random.default_rng(0), 6, 20_000
    types = np.array([0, 0, 1, 0, 1, 0])
    mu_alpha, mu_beta = rng.normal(-2, 0.3, (2, 14, 8)), rng.normal(-1, 0.3, (2, 14))
    sigma_alpha, sigma_beta = rng.uniform(0.1, 0.3, (2, 14, 8)), rng.uniform(0.1, 0.3, (2, 14))
    log_norms = rng.normal(0, 0.4, (cells, 14, 8))
    log_norms[..., 0] = -np.inf
    pair = [
        LogNormal(tf.constant(mean, tf.float32), tf.constant(sigma**2, tf.float32))
        for mean, sigma in ((mu_alpha, sigma_alpha), (mu_beta, sigma_beta))
    ]
    constants = [
        network_constant(pair[0], pair[1], tf.constant(log_norms, tf.float32), tf.constant(types), shared=shared)
        for shared in (True, False)
    ]
    alpha = np.exp(mu_alpha + sigma_alpha * rng.standard_normal((samples, 2, 14, 8)))
    beta = np.exp(mu_beta + sigma_beta * rng.standard_normal((samples, 2, 14)))
    total = np.zeros(samples)
    for cell, kind in enumerate(types):
        edges = (alpha[:, kind] * np.exp(log_norms[cell])).sum(-1) * beta[:, kind]
        for first, last in ((0, 2), (2, 5), (5, 9), (9, 14)):
            total += np.log(edges[:, first:last].sum(-1))
    assert float(tf.sqrt(constants[0].variance)) == pytest.approx(total.std(), rel=0.03)
    assert float(tf.sqrt(constants[1].variance)) < 0.8 * total.std()
    for eta in (0.7, 0.9):
        constraint = ConfidenceConstraint(update="proximal", eta=eta, target=0.0)
        constraint.log_target.assign(float(constraint.confident_constant(constants[0])))
        state = constraint.evaluate(constants[0])
        assert float(state.violation) == pytest.approx(0, abs=1e-5)
        assert float(state.probability) == pytest.approx(eta, abs=1e-3)
        assert np.mean(total <= float(constraint.log_target)) == pytest.approx(eta, abs=0.02)
        printed = ConfidenceConstraint(update="printed", eta=eta, target=float(constraint.log_target))
        state = printed.evaluate(constants[1], constants[0])
        assert float(state.probability) == pytest.approx(np.mean(total <= float(printed.log_target)), abs=0.02)
