"""Eqs. 13 to 19 by hand: the violation, the probability, both penalties, the dual and the target."""

import math
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.errors import UsageError
from racl_tf.lipschitz.surrogate import LogNormal
from racl_tf.search.confidence_constraint import ConfidenceConstraint, confident_log_constant


def constant(mean: float, variance: float) -> LogNormal:
    return LogNormal(tf.constant(mean), tf.constant(variance))


@pytest.mark.parametrize(("eta", "quantile"), [(0.5, 0.0), (0.7, 0.5244005), (0.9, 1.2815516), (0.99, 2.3263479)])
def test_violation_by_hand(eta: float, quantile: float) -> None:
    """c = mu_F + Phi^-1(eta) sigma_F^2 - ln(lambda* / C), the quantiles from printed tables."""
    assert float(confident_log_constant(constant(-3.0, 0.25), eta)) == pytest.approx(-3 + 0.25 * quantile, abs=1e-6)
    state = ConfidenceConstraint(update="printed", eta=eta, target=-4.5).evaluate(constant(-3.0, 0.25))
    assert float(state.violation) == pytest.approx(1.5 + 0.25 * quantile, abs=1e-6)
    assert float(state.mean) == -3.0
    assert float(state.deviation) == 0.5


@settings(deadline=None, max_examples=20)
@given(mean=st.floats(-20, 20), deviation=st.floats(0.05, 3), gap=st.floats(-2, 2))
def test_probability_is_the_normal_distributions(mean: float, deviation: float, gap: float) -> None:
    """Eq. 14, with the target `gap` deviations above mu_F."""
    state = ConfidenceConstraint(target=mean + gap * deviation).evaluate(constant(mean, deviation**2))
    assert float(state.probability) == pytest.approx(NormalDist().cdf(gap), abs=1e-4)


def test_without_variance_dropped_the_probability_is_eta() -> None:
    """At sigma_F = 1 the root between Eqs. 15 and 16 changes nothing: c = 0 is eta."""
    constraint = ConfidenceConstraint(eta=0.9, target=2.0 + 1.2815516)
    state = constraint.evaluate(constant(2.0, 1.0))
    assert float(state.violation) == pytest.approx(0, abs=1e-6)
    assert float(state.probability) == pytest.approx(0.9, abs=1e-6)


REACHABLE = tf.constant(30.0)
violations = st.floats(-100, 100)
thetas = st.floats(-1, 1)


@settings(deadline=None, max_examples=30)
@given(violation=violations, theta=thetas, rho=st.sampled_from([1e-4, 1e-3, 0.1]))
def test_equality_penalty(violation: float, theta: float, rho: float) -> None:
    constraint = ConfidenceConstraint(rho=rho, form="equality")
    constraint.theta.assign(theta)
    c = tf.constant(violation)
    with tf.GradientTape() as tape:
        tape.watch(c)
        penalty = constraint.penalty(c)
    assert float(penalty) == pytest.approx(theta * violation + rho / 2 * violation**2, rel=1e-4, abs=1e-5)
    assert float(tape.gradient(penalty, c)) == pytest.approx(theta + rho * violation, rel=1e-5, abs=1e-6)
    constraint.update_dual(c)
    assert float(constraint.theta) == pytest.approx(theta + rho * violation, rel=1e-5, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(violation=violations, theta=st.floats(0, 1), rho=st.sampled_from([1e-3, 0.1]))
def test_inequality_penalty(violation: float, theta: float, rho: float) -> None:
    """(max(0, theta + rho c)^2 - theta^2) / 2 rho: Eq. 17 where it is active, constant where it is not."""
    constraint = ConfidenceConstraint(rho=rho, form="inequality")
    constraint.theta.assign(theta)
    c = tf.constant(violation)
    with tf.GradientTape() as tape:
        tape.watch(c)
        penalty = constraint.penalty(c)
    multiplier = max(0.0, theta + rho * violation)
    active = theta * violation + rho / 2 * violation**2
    expected = active if multiplier > 0 else -(theta**2) / (2 * rho)
    assert float(penalty) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert float(tape.gradient(penalty, c)) == pytest.approx(multiplier, rel=1e-5, abs=1e-6)
    constraint.update_dual(c)
    assert float(constraint.theta) == pytest.approx(multiplier, rel=1e-5, abs=1e-6)


def test_the_dual_is_not_differentiated() -> None:
    constraint = ConfidenceConstraint()
    assert constraint.trainable_variables == []


def test_the_target_is_set_once() -> None:
    constraint = ConfidenceConstraint(update="printed", reduction=6.0)
    assert math.isnan(constraint.evaluate(constant(1.0, 0.5)).violation)
    constraint.set_target(constant(1.0, 0.5), REACHABLE)
    expected = 1 + 1.2815516 * 0.5 - 6
    assert float(constraint.log_target) == pytest.approx(expected, abs=1e-6)
    assert float(constraint.evaluate(constant(1.0, 0.5)).violation) == pytest.approx(6, abs=1e-5)
    constraint.set_target(constant(-50.0, 0.5), REACHABLE)
    assert float(constraint.log_target) == pytest.approx(expected, abs=1e-6)


def test_the_proximal_target_follows_the_weights() -> None:
    """It is `reduction` below whatever constant it is given, with the root of Eq. 15."""
    constraint = ConfidenceConstraint(update="proximal", reduction=6.0)
    for mean in (1.0, -50.0):
        constraint.set_target(constant(mean, 0.25), REACHABLE)
        assert float(constraint.log_target) == pytest.approx(mean + 1.2815516 * 0.5 - 6, abs=1e-5)
        assert float(constraint.evaluate(constant(mean, 0.25)).violation) == pytest.approx(6, abs=1e-5)


@pytest.mark.parametrize("strictness", [0.2, 0.5])
def test_the_target_is_a_share_of_what_choice_can_reach(strictness: float) -> None:
    constraint = ConfidenceConstraint(strictness=strictness)
    constraint.set_target(constant(1.0, 0.25), tf.constant(20.0))
    assert float(constraint.log_target) == pytest.approx(1 + 1.2815516 * 0.5 - 20 * strictness, abs=1e-5)


def test_the_target_descends_over_the_ramp() -> None:
    """Linearly with the architecture's steps, in the proximal way; the printed target is there at once."""
    constraint = ConfidenceConstraint(reduction=8.0, ramp=4)
    for step, asked in ((0, 2.0), (1, 4.0), (3, 8.0), (100, 8.0)):
        constraint.set_target(constant(0.0, 0.0), REACHABLE, tf.constant(step))
        assert float(constraint.log_target) == pytest.approx(-asked)
    printed = ConfidenceConstraint(update="printed", reduction=8.0, ramp=4)
    printed.set_target(constant(0.0, 0.0), REACHABLE, tf.constant(0))
    assert float(printed.log_target) == -8


def test_an_absolute_target_stays() -> None:
    constraint = ConfidenceConstraint(target=-7.25)
    constraint.set_target(constant(1.0, 0.5), REACHABLE)
    assert float(constraint.log_target) == -7.25


def test_config_round_trip() -> None:
    options: dict[str, Any] = {
        "eta": 0.7,
        "rho": 0.01,
        "reduction": 2.0,
        "strictness": 0.3,
        "ramp": 7,
        "target": -3.0,
        "form": "inequality",
        "scale_free": True,
        "update": "proximal",
        "step": 0.5,
    }
    constraint = ConfidenceConstraint(**options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(constraint))
    assert {name: getattr(again, name) for name in options} == options
    np.testing.assert_array_equal(again.evaluate(constant(1.0, 0.5)), constraint.evaluate(constant(1.0, 0.5)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 0.4}, r"`eta`.* \[0.5, 1\).*reward variance.*Received: eta=0.4"),
        ({"eta": 1.0}, r"`eta`.*Received: eta=1.0"),
        ({"rho": 0.0}, r"`rho`.*positive.*Received: rho=0.0"),
        ({"rho": float("nan")}, r"`rho`.*Received: rho=nan"),
        ({"form": "equal"}, "Did you mean 'equality'"),
        ({"update": "print"}, "Did you mean 'printed'"),
        ({"step": 0.0}, r"`step`.*positive.*Received: step=0.0"),
    ],
)
def test_errors(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ConfidenceConstraint(**options)
