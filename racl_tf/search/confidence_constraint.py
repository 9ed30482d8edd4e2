"""The confidence constraint on the network's Lipschitz constant and its dual variable (Eqs. 13 to 19)."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from racl_tf.errors import UsageError, unknown
from racl_tf.lipschitz.surrogate import LogNormal, safe_sqrt

FORMS = ("equality", "inequality")
UPDATES = ("printed", "proximal")


class ConstraintState(NamedTuple):
    """What one step knows of the constraint; all scalars."""

    violation: tf.Tensor
    """c, wanted at most 0."""
    mean: tf.Tensor
    """mu_F."""
    deviation: tf.Tensor
    """sigma_F."""
    probability: tf.Tensor
    """Phi((ln(lambda* / C) - mu_F) / sigma_F) (Eq. 14), the achieved confidence."""


@keras.saving.register_keras_serializable("racl_tf")
class ConfidenceConstraint(keras.layers.Layer):
    r"""Pr[lambda_F <= lambda*] >= eta (Eq. 13) as c <= 0 (Eq. 16), with the dual variable theta and the target.

    There are two ways to meet it, `update`:

    - "proximal": c = mu_F + Phi^-1(eta) sigma_F - ln(lambda* / C) (Eq. 15), with the sigma_F of cells that share their
      draws, so that c = 0 is the confidence eta. The architecture follows c by a step of its own (`proximal_factor`),
      and theta the c of the point after it. In the linear model of c the map of (c, theta) then has the determinant
      1 / (1 + g rho), with g = step ||grad c||^2: it settles for every rho and step.
    - "printed": c = mu_F + Phi^-1(eta) sigma_F^2 - ln(lambda* / C) (Eq. 16), with cells as if they were independent.
      Its penalty is a part of the loss (Eq. 17), and theta follows the c of the point before the step. In the linear
      model that map has the determinant 1: it oscillates without end.

    Only the difference of mu_F to the target matters, and mu_F sums 4 logarithms a cell that depend on the weights. So
    the target is relative: in the proximal way to what the start architecture has at the current weights, which only
    the architecture can lower; in the printed way to where the search stands when the architecture's training begins.

    Arguments:
        update: "proximal", or "printed", the paper's.
        eta: the confidence level, in [0.5, 1).
        rho: the penalty of ADMM and the step size of theta, positive.
        step: the length tau of the proximal step, positive.
        strictness: how far below that value the target is, as a share, in (0, 1), of what choice alone can reach:
            the least constant that relative weights of these operations can have, measured scale-free. At 0.2 a search
            on digits moved mu relatively by twice what it moves without a constraint, at the same loss; at 0.5, asked
            for at once, the constraint chose alone and the loss rose from 0.4 to 15.
        reduction: the target in nats below that value, over the whole network; takes the place of `strictness`.
        target: ln(lambda* / C) itself; takes the place of both.
        ramp: architecture steps over which a relative target descends, in the proximal way: asked for at once, it is
            overshot, and what is chosen then is chosen by the constraint alone.
        form: "inequality": theta stays at least 0 and only what violates is penalised; "equality", the paper's: the
            penalty also pulls lambda_F up where there is slack, and theta may become negative.
        scale_free: measures relative weights (see `racl_tf.lipschitz.surrogate.network_constant`).

    Raises:
        UsageError: an argument is out of its range; eta below 0.5 would reward variance.

    Differences from the paper:
        Dropping the root between Eqs. 15 and 16 changes the confidence that c = 0 stands for, so the achieved
        probability (Eq. 14, with shared draws) is reported beside c. `update="proximal"`, `form="inequality"`,
        `scale_free` and the relative target are additions.
    """

    def __init__(
        self,
        *,
        update: str = "proximal",
        eta: float = 0.9,
        rho: float = 1e-3,
        step: float = 1.0,
        strictness: float = 0.2,
        reduction: float | None = None,
        target: float | None = None,
        ramp: int = 0,
        form: str = "inequality",
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
        if not step > 0:
            raise UsageError(f"`step`, the length of the proximal step, must be positive. Received: step={step!r}.")
        if not 0 < strictness < 1:
            raise UsageError(
                "`strictness`, a share of what choice alone can reach, must be between 0 and 1, exclusive. "
                f"Received: strictness={strictness!r}."
            )
        if ramp < 0:
            raise UsageError(f"`ramp`, a number of steps, must be at least 0. Received: ramp={ramp!r}.")
        if form not in FORMS:
            raise unknown("form of the constraint", form, FORMS)
        if update not in UPDATES:
            raise unknown("update of the constraint", update, UPDATES)
        self.update = update
        self.eta = eta
        self.rho = rho
        self.step = step
        self.strictness = strictness
        self.reduction = reduction
        self.target = target
        self.ramp = ramp
        self.form = form
        self.scale_free = scale_free
        scalar: dict[str, Any] = {"shape": (), "trainable": False, "autocast": False, "aggregation": "mean"}
        self.theta = self.add_weight(initializer="zeros", name="theta", **scalar)
        start = keras.initializers.Constant(math.nan if target is None else target)
        self.log_target = self.add_weight(initializer=start, name="log_target", **scalar)
        self.built = True

    @property
    def proximal(self) -> bool:
        """Whether the constraint is met in the proximal way."""
        return self.update == "proximal"

    def evaluate(self, constant: LogNormal, shared: LogNormal | None = None) -> ConstraintState:
        """Returns where the network's constant stands; NaN violation before a target is set.

        The probability is that of Eq. 14; it is at least eta where Eq. 15 holds.

        Arguments:
            constant: (mu_F, sigma_F^2), with draws shared between cells in the proximal way and not in the printed.
            shared: with shared draws, which the probability is taken from; `constant` by default.
        """
        shared = constant if shared is None else shared
        log_target = tf.convert_to_tensor(self.log_target)
        return ConstraintState(
            violation=self.confident_constant(constant) - log_target,
            mean=constant.mean,
            deviation=safe_sqrt(constant.variance),
            probability=tfp.distributions.Normal(shared.mean, tf.sqrt(shared.variance)).cdf(log_target),
        )

    def confident_constant(self, constant: LogNormal) -> tf.Tensor:
        """Returns what is compared with the target: the left side of Eq. 15, or of Eq. 16 in the printed way."""
        return confident_log_constant(constant, self.eta, root=self.proximal)

    def set_target(self, constant: LogNormal, reachable: tf.Tensor, step: tf.Tensor | int = 0) -> None:
        """Sets the target below a constant, unless it is an absolute one.

        In the proximal way it is set anew at every step, to follow the weights; in the printed way once.

        Arguments:
            constant: that the target is `reduction` nats below.
            reachable: the nats by which choice alone can lower it; the target is the share `strictness` of them below
                if there is no `reduction`.
            step: how many architecture steps have been taken.
        """
        if self.target is not None:
            return
        reduction = self.strictness * reachable if self.reduction is None else self.reduction
        if self.proximal and self.ramp:
            reduction *= tf.minimum(tf.cast(step + 1, tf.float32) / self.ramp, 1.0)
        value = tf.stop_gradient(self.confident_constant(constant) - reduction)
        if not self.proximal:
            before = tf.convert_to_tensor(self.log_target)
            value = tf.where(tf.math.is_nan(before), value, before)
        self.log_target.assign(value)

    def multiplier(self, violation: tf.Tensor) -> tf.Tensor:
        """Returns theta + rho c, for the inequality form max(0, theta + rho c): the derivative of `penalty` by c."""
        multiplier = tf.convert_to_tensor(self.theta) + self.rho * violation
        return multiplier if self.form == "equality" else tf.nn.relu(multiplier)

    def proximal_factor(self, violation: tf.Tensor, squared_norm: tf.Tensor) -> tf.Tensor:
        r"""Returns the factor of grad c in the architecture's step on the constraint.

        It is -tau (theta + rho c) / (1 + rho tau ||grad c||^2): the minimum of theta c + rho/2 c^2 + ||x - x_0||^2 /
        (2 tau) with c linear in x, an implicit step that is stable at any length tau.

        Arguments:
            violation: c where the step begins.
            squared_norm: ||grad c||^2 there.
        """
        return -self.step * self.multiplier(violation) / (1 + self.rho * self.step * squared_norm)

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
        self.theta.assign(self.multiplier(tf.stop_gradient(violation)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "update": self.update,
            "eta": self.eta,
            "rho": self.rho,
            "step": self.step,
            "strictness": self.strictness,
            "reduction": self.reduction,
            "target": self.target,
            "ramp": self.ramp,
            "form": self.form,
            "scale_free": self.scale_free,
        }


def confident_log_constant(constant: LogNormal, eta: float, *, root: bool = False) -> tf.Tensor:
    """Returns mu_F + Phi^-1(eta) * sigma_F^2, the left side of Eq. 16, or with the root that of Eq. 15."""
    quantile = tfp.distributions.Normal(0.0, 1.0).quantile(eta)
    return constant.mean + quantile * (safe_sqrt(constant.variance) if root else constant.variance)
