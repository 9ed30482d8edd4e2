"""The confidence constraint on the network's Lipschitz constant and its dual variable (Eqs. 13 to 19)."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from racl_tf.errors import UsageError, unknown
from racl_tf.lipschitz.surrogate import LogNormal

FORMS = ("equality", "inequality")


class ConstraintState(NamedTuple):
    """What one step knows of the constraint; all scalars."""

    violation: tf.Tensor
    """c (Eq. 17), wanted at most 0."""
    mean: tf.Tensor
    """mu_F."""
    deviation: tf.Tensor
    """sigma_F."""
    probability: tf.Tensor
    """Phi((ln(lambda* / C) - mu_F) / sigma_F) (Eq. 14), the achieved confidence."""


@keras.saving.register_keras_serializable("racl_tf")
class ConfidenceConstraint(keras.layers.Layer):
    r"""Pr[lambda_F <= lambda*] >= eta (Eq. 13) as c = mu_F + Phi^-1(eta) sigma_F^2 - ln(lambda* / C) <= 0 (Eq. 16).

    It holds the dual variable theta and the target ln(lambda* / C). Only their difference to
    mu_F matters, and mu_F sums 4 logarithms a cell that depend on the weights, so the target
    is set relative to where the search stands when the architecture's training begins.

    Arguments:
        eta: the confidence level, in [0.5, 1).
        rho: the penalty of ADMM and the step size of theta, positive.
        reduction: the target in nats below the value of mu_F + Phi^-1(eta) sigma_F^2 at the first
            architecture step.
        target: ln(lambda* / C) itself; takes the place of `reduction`.
        form: "equality", the paper's: the penalty also pulls lambda_F up where there is slack, and theta may
            become negative; "inequality": theta stays at least 0 and only what violates is penalised.
        scale_free: measures relative weights (see `racl_tf.lipschitz.surrogate.network_constant`).

    Raises:
        UsageError: an argument is out of its range; eta below 0.5 would reward variance.

    Differences from the paper:
        Dropping the root between Eqs. 15 and 16 changes the confidence that c = 0 stands for, so the achieved
        probability (Eq. 14) is reported beside c. `form`, `scale_free` and the relative target are additions.
    """

    def __init__(
        self,
        *,
        eta: float = 0.9,
        rho: float = 1e-3,
        reduction: float = 6.0,
        target: float | None = None,
        form: str = "equality",
        scale_free: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.5 <= eta < 1:
            raise UsageError(
                "`eta`, the confidence level, must be in [0.5, 1): below 0.5 the constraint would reward variance. "
                f"Received: eta={eta!r}."
            )
        if not rho > 0:
            raise UsageError(f"`rho`, the penalty of ADMM, must be positive. Received: rho={rho!r}.")
        if form not in FORMS:
            raise unknown("form of the constraint", form, FORMS)
        self.eta = eta
        self.rho = rho
        self.reduction = reduction
        self.target = target
        self.form = form
        self.scale_free = scale_free
        scalar: dict[str, Any] = {"shape": (), "trainable": False, "autocast": False, "aggregation": "mean"}
        self.theta = self.add_weight(initializer="zeros", name="theta", **scalar)
        start = keras.initializers.Constant(math.nan if target is None else target)
        self.log_target = self.add_weight(initializer=start, name="log_target", **scalar)
        self.built = True

    def evaluate(self, constant: LogNormal) -> ConstraintState:
        """Returns where the network's constant (mu_F, sigma_F^2) stands; NaN violation before a target is set.

        The probability is that of Eq. 14; it is at least eta where Eq. 15 holds.
        """
        deviation = tf.sqrt(constant.variance)
        log_target = tf.convert_to_tensor(self.log_target)
        return ConstraintState(
            violation=confident_log_constant(constant, self.eta) - log_target,
            mean=constant.mean,
            deviation=deviation,
            probability=tfp.distributions.Normal(constant.mean, deviation).cdf(log_target),
        )

    def set_target(self, constant: LogNormal) -> None:
        """Sets the target `reduction` nats below the constant, unless there is one already."""
        value = tf.stop_gradient(confident_log_constant(constant, self.eta)) - self.reduction
        target = tf.convert_to_tensor(self.log_target)
        self.log_target.assign(tf.where(tf.math.is_nan(target), value, target))

    def penalty(self, violation: tf.Tensor) -> tf.Tensor:
        """Returns theta * c + rho / 2 * c^2 (Eq. 17).

        For the inequality form (max(0, theta + rho * c)^2 - theta^2) / (2 * rho).
        """
        theta = tf.convert_to_tensor(self.theta)
        if self.form == "equality":
            return theta * violation + self.rho / 2 * tf.square(violation)
        return (tf.square(tf.nn.relu(theta + self.rho * violation)) - tf.square(theta)) / (2 * self.rho)

    def update_dual(self, violation: tf.Tensor) -> None:
        """Sets theta to theta + rho * c (Eq. 19); for the inequality form to max(0, theta + rho * c)."""
        theta = self.theta + self.rho * tf.stop_gradient(violation)
        self.theta.assign(theta if self.form == "equality" else tf.nn.relu(theta))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "eta": self.eta,
            "rho": self.rho,
            "reduction": self.reduction,
            "target": self.target,
            "form": self.form,
            "scale_free": self.scale_free,
        }


def confident_log_constant(constant: LogNormal, eta: float) -> tf.Tensor:
    """Returns mu_F + Phi^-1(eta) * sigma_F^2, the left side of Eq. 16."""
    quantile = tfp.distributions.Normal(0.0, 1.0).quantile(eta)
    return constant.mean + quantile * constant.variance
