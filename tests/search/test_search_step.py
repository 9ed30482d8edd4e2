"""The search's step, replayed from the equations.

The replay owns its state as plain arrays: it draws with the run's seeds, differentiates with a plain tape, computes the
constraint by the sums of Eqs. 8 to 12 in float64, and writes out Adam, momentum, clipping, decay and the dual itself.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from racl_tf.attacks import image_seeds, pgd
from racl_tf.data import load_dataset, search_batches
from racl_tf.lipschitz.operation_norms import OperationNorms
from racl_tf.networks.supernet import Supernet
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.seeding import fold

SEED, BATCH = 5, 12
RATE, MOMENTUM, CLIP, DECAY = 0.05, 0.9, 0.5, 3e-3
ADAM_RATE, BETA_1, BETA_2, ADAM_DECAY = 6e-3, 0.5, 0.999, 0.1
RHO, REDUCTION, QUANTILE = 0.02, 3.0, 1.2815516
CONSTRAINT = {"update": "printed", "rho": RHO, "reduction": REDUCTION}


def make_search(*, cells: int = 1, constraint: dict | None = CONSTRAINT, **options) -> RACLSearch:
    """Returns a compiled search of a small supernet; `constraint` holds options, None leaves it out."""
    search = RACLSearch(
        Supernet(10, channels=4, cells=cells, input_shape=(8, 8, 1), partial=2, mean=0.3, std=0.4, seed=1),
        LogNormalArchitecture(sigma=0.2),
        None if constraint is None else ConfidenceConstraint(**constraint),
        seed=SEED,
        **options,
    )
    search.compile(
        keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        keras.optimizers.Adam(ADAM_RATE, beta_1=BETA_1, beta_2=BETA_2),
        weight_decay=DECAY,
        architecture_weight_decay=ADAM_DECAY,
        clip_norm=CLIP,
        run_eagerly=True,
    )
    return search


@pytest.fixture(scope="module")
def steps() -> list:
    """((x_w, y_w), (x_a, y_a)) of three steps."""
    data = load_dataset("digits", train_size=72).train
    return list(search_batches(data.take(range(36)), data.take(range(36, 72)), BATCH, seed=0).take(3))


def run(search: RACLSearch, steps: list) -> list[dict[str, float]]:
    """Takes steps and returns the logs of each."""
    return [{name: float(value) for name, value in search.train_step(step).items()} for step in steps]


def values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [variable.numpy().copy() for variable in variables]


def assert_equal_variables(ours: list[keras.Variable], truth: list, *, atol: float = 1e-6, rtol: float = 1e-5) -> None:
    for variable, value in zip(ours, truth, strict=True):
        value = value if isinstance(value, np.ndarray) else value.numpy()
        np.testing.assert_allclose(variable.numpy(), value, rtol, atol, err_msg=variable.path)


def sum_moments(mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    first = tf.reduce_sum(tf.exp(mean + variance / 2), -1)
    second = tf.reduce_sum(tf.exp(2 * mean + variance) * (tf.exp(variance) - 1), -1)
    spread = tf.math.log(second / first**2 + 1)
    return tf.math.log(first) - spread / 2, spread


def network_moments(mu: list, sigma: list, log_norms: tf.Tensor, cell_types: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """mu_F and sigma_F^2 (Eqs. 8 to 12), zero left out from the start."""
    alpha, beta = (tf.cast(value, tf.float64) for value in mu)
    alpha_variance, beta_variance = (tf.cast(value, tf.float64) ** 2 for value in sigma)
    means, variances = [], []
    for cell, kind in enumerate(cell_types):
        norms = tf.cast(log_norms[cell, :, 1:], tf.float64)
        edge, edge_variance = sum_moments(alpha[kind, :, 1:] + norms, alpha_variance[kind, :, 1:])
        for first, last in ((0, 2), (2, 5), (5, 9), (9, 14)):
            node, node_variance = sum_moments(
                beta[kind, first:last] + edge[first:last], beta_variance[kind, first:last] + edge_variance[first:last]
            )
            means.append(node)
            variances.append(node_variance)
    return tf.add_n(means), tf.add_n(variances)


class Adam:
    """Kingma and Ba's Adam of one array, in Keras's form (epsilon 1e-7 outside of the bias correction)."""

    def __init__(self) -> None:
        self.first: float | np.ndarray = 0.0
        self.second: float | np.ndarray = 0.0
        self.count = 0

    def step(self, gradient: np.ndarray) -> np.ndarray:
        self.count += 1
        self.first = BETA_1 * self.first + (1 - BETA_1) * gradient
        self.second = BETA_2 * self.second + (1 - BETA_2) * gradient**2
        rate = ADAM_RATE * np.sqrt(1 - BETA_2**self.count) / (1 - BETA_1**self.count)
        return -rate * self.first / (np.sqrt(self.second) + 1e-7)


class Replay:
    """A search's state and steps, from a search that has not made a step yet."""

    def __init__(self, search: RACLSearch) -> None:
        self.network = Supernet.from_config(search.supernet.get_config())
        self.norms = OperationNorms(self.network)
        self.cell_types = [int(cell.reduction) for cell in self.network.cells]
        self.mu = values([search.architecture.mu_alpha, search.architecture.mu_beta])
        self.start = [mu.copy() for mu in self.mu]
        self.logits = values([search.architecture.sigma_logit_alpha, search.architecture.sigma_logit_beta])
        self.adam = [Adam() for _ in range(4)]
        self.momenta = [np.zeros(variable.shape) for variable in self.network.trainable_variables]
        constraint = search.constraint
        self.constrained, self.sequential = constraint is not None, search.updates == "sequential"
        self.inequality = constraint is not None and constraint.form == "inequality"
        self.attack = search.attack
        self.theta = 0.0
        self.target: float | None = None
        self.count = 0
        self.losses: dict[str, float] = {}
        self.clipped = False

    def step(self, weight_batch: tuple, architecture_batch: tuple) -> None:
        log_norms = self.norms.measure()
        violation = None
        for trained in [(0, 1), (2, 3)] if self.sequential else [(0, 1, 2, 3)]:
            gradients, point = self.architecture_gradients(architecture_batch, log_norms)
            violation = point if violation is None else violation
            for index in trained:
                gradient = gradients[index].numpy()
                if index < 2:
                    gradient = gradient + ADAM_DECAY * (self.mu[index] - self.start[index])
                array = (*self.mu, *self.logits)[index]
                array += self.adam[index].step(gradient)
        if self.constrained:
            assert violation is not None
            self.theta += RHO * float(violation)
            self.theta = max(0.0, self.theta) if self.inequality else self.theta
        self.weight_step(weight_batch)
        self.count += 1

    def architecture_gradients(self, batch: tuple, log_norms: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        mu, logits = ([tf.constant(value) for value in arrays] for arrays in (self.mu, self.logits))
        with tf.GradientTape() as tape:
            tape.watch([mu, logits])
            sigma = [1e-3 + (1 - 1e-3) * tf.sigmoid(logit) for logit in logits]
            loss = self.cross_entropy(batch, mu, sigma, "architecture")
            violation = tf.constant(0.0, tf.float64)
            if self.constrained:
                mean, variance = network_moments(mu, sigma, log_norms, self.cell_types)
                level = mean + QUANTILE * variance
                self.target = float(level) - REDUCTION if self.target is None else self.target
                violation = level - self.target
                penalty = self.theta * violation + RHO / 2 * violation**2
                if self.inequality:
                    active = tf.maximum(tf.constant(0.0, tf.float64), self.theta + RHO * violation)
                    penalty = (active**2 - self.theta**2) / (2 * RHO)
                loss += tf.cast(penalty, tf.float32)
        gradients = tape.gradient(loss, [*mu, *logits], unconnected_gradients="zero")
        return gradients, violation

    def weight_step(self, batch: tuple) -> None:
        mu = [tf.constant(value) for value in self.mu]
        sigma = [1e-3 + (1 - 1e-3) * tf.sigmoid(value) for value in self.logits]
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.cross_entropy(batch, mu, sigma, "weights")
        gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [v.value for v in variables])]
        norm = np.sqrt(sum(np.sum(gradient.astype(float) ** 2) for gradient in gradients))
        self.clipped |= norm > CLIP
        for variable, gradient, momentum in zip(variables, gradients, self.momenta, strict=True):
            weight = variable.numpy()
            momentum *= MOMENTUM
            momentum -= RATE * (gradient * min(1, CLIP / norm) + DECAY * weight)
            variable.assign(weight + momentum)

    def cross_entropy(self, batch: tuple, mu: list, sigma: list, stream: str) -> tf.Tensor:
        """Returns the loss at a fresh draw, on images attacked at this draw if there is an attack."""
        seeds = tf.random.experimental.stateless_split(fold(SEED, f"search/{stream}", self.count), 2)
        noise = [
            tf.math.log(tfp.distributions.LogNormal(tf.zeros(m.shape), 1.0).sample(seed=seed))
            for m, seed in zip(mu, tf.unstack(seeds), strict=True)
        ]
        alpha, beta = (tf.exp(m + s * n) for m, s, n in zip(mu, sigma, noise, strict=True))
        images, labels = batch
        if self.attack is not None:
            clean = self.mean_cross_entropy(self.network(images, alpha, beta, training=False), labels)
            seed = fold(SEED, f"search/attack/{stream}", self.count, 0)
            images = self.attack.perturb(
                lambda x: self.network(x, alpha, beta, training=False),
                images,
                labels,
                image_seeds(seed, tf.range(len(labels))),
            )
            attacked = self.mean_cross_entropy(self.network(images, alpha, beta, training=False), labels)
            assert attacked > clean
        loss = self.mean_cross_entropy(self.network(images, alpha, beta, training=True), labels)
        self.losses.setdefault(stream, float(loss))
        return loss

    @staticmethod
    def mean_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        probabilities = tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=1)
        return -tf.reduce_mean(probabilities)


def assert_replayed(search: RACLSearch, replay: Replay) -> None:
    architecture = search.architecture
    assert_equal_variables([architecture.mu_alpha, architecture.mu_beta], replay.mu)
    assert_equal_variables([architecture.sigma_logit_alpha, architecture.sigma_logit_beta], replay.logits)
    assert_equal_variables(search.supernet.variables, replay.network.variables)
    assert_equal_variables(search.norms.variables, replay.norms.variables, atol=1e-5)
    assert int(search.steps) == replay.count
    if replay.constrained:
        assert search.constraint is not None
        assert float(search.constraint.theta) == pytest.approx(replay.theta, rel=1e-5)
        assert float(search.constraint.log_target) == pytest.approx(replay.target, rel=1e-5)


VARIANTS = {
    "joint": {"cells": 3},
    "sequential": {"updates": "sequential"},
    "inequality": {"constraint": CONSTRAINT | {"form": "inequality"}},
    "unconstrained": {"constraint": None},
    "attacked": {"attack": pgd(0.1, 0.05, 2)},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_two_steps_replayed(options: dict, steps: list) -> None:
    search = make_search(**options)
    replay = Replay(search)
    before = values(search.trainable_variables)
    first, _ = run(search, steps[:2])
    for weight_batch, architecture_batch in steps[:2]:
        replay.step(weight_batch, architecture_batch)
    assert_replayed(search, replay)
    assert replay.clipped
    assert first["loss"] == pytest.approx(replay.losses["weights"], rel=1e-5)
    assert first["architecture_loss"] == pytest.approx(replay.losses["architecture"], rel=1e-5)
    assert all((old != new).any() for old, new in zip(before, values(search.trainable_variables), strict=True))


@pytest.mark.parametrize(("form", "target"), [("equality", -9.0), ("inequality", -9.0), ("inequality", 50.0)])
def test_theta_adds_up_the_violations(form: str, target: float, steps: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """theta_{k+1} = theta_k + rho c_k, cut at 0 for the inequality, where c_k is the one the step started from."""
    search = make_search(constraint=CONSTRAINT | {"form": form, "target": target})
    log_norms: list[tf.Tensor] = []
    measure = search.norms.measure

    def recorded() -> tf.Tensor:
        log_norms.append(measure())
        return log_norms[-1]

    monkeypatch.setattr(search.norms, "measure", recorded)
    theta = 0.0
    for step in steps:
        mu, logits = values(search.architecture.mu), values(search.architecture.sigma_logits)
        (logs,) = run(search, [step])
        sigma = [1e-3 + (1 - 1e-3) / (1 + np.exp(-logit)) for logit in logits]
        mean, variance = (float(value) for value in network_moments(mu, sigma, log_norms[-1], [1]))
        violation = mean + QUANTILE * variance - target
        theta = theta + RHO * violation
        theta = max(theta, 0) if form == "inequality" else theta
        assert logs["mu_F"] == pytest.approx(mean, rel=1e-5)
        assert logs["sigma_F"] == pytest.approx(np.sqrt(variance), rel=1e-4)
        assert logs["constraint"] == pytest.approx(violation, abs=1e-4)
        assert logs["theta"] == pytest.approx(theta, abs=1e-5)
    assert (theta == 0) == (target > 0)
