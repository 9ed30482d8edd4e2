"""Projected steepest ascent with optional momentum: FGSM, BIM, PGD and MIM."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import tensorflow as tf

from racl_tf.attacks.attack import Attack, is_positive_integer
from racl_tf.attacks.losses import LOSSES, needed_classes, predicted, with_gradient
from racl_tf.attacks.norms import NORMS, per_image
from racl_tf.attacks.process import Images, LogitsOf, Process


class GradientState(NamedTuple):
    """The state of an attack without momentum; see `AttackState`."""

    adversarial: tf.Tensor
    is_adversarial: tf.Tensor


class MomentumState(NamedTuple):
    """The state of an attack with momentum, which is like the images, (B, ...)."""

    adversarial: tf.Tensor
    is_adversarial: tf.Tensor
    momentum: tf.Tensor


@dataclass(frozen=True)
class GradientAttack(Attack):
    """A white-box attack: `steps` ascents of a loss inside the ball, towards the maximum of RACL's Eq. 1.

    `fgsm`, `pgd` and `mim` construct the usual ones. Each step takes the raw gradient g of the loss with
    respect to the image, then the momentum m <- decay * m + g / ||g||_1 in its place if `decay` > 0 (Dong et al.,
    2018, Eq. 6), then the norm's steepest direction d, and projects (Madry et al., 2018):
    x' <- P(x' + step_size * d).

    Arguments:
        eps: radius of the ball in units of pixels in [0, 1]; in (0, 1] for "linf", positive for "l2".
        step_size: length of one step, absolute and positive, in the same units.
        steps: number of steps, at least 1.
        norm: a name in `NORMS`, "linf" or "l2".
        loss: a name in `LOSSES`, "cross_entropy", "margin" or "dlr".
        decay: of the momentum, at least 0; 0 is without momentum.
        random_start: whether to start at a uniform point of the ball rather than at the image.
        targeted: whether labels are targets to reach rather than classes to leave.
        restarts: number of random starts, at least 1.
        eot: number of evaluations that logits and gradient are means of, at least 1, for a model that is random
            (expectation over transformation).

    Raises:
        UsageError: for a value outside its range or an unknown name.
    """

    eps: float
    step_size: float
    steps: int
    _: KW_ONLY
    norm: str = "linf"
    loss: str = "cross_entropy"
    decay: float = 0.0
    random_start: bool = False
    targeted: bool = False
    restarts: int = 1
    eot: int = 1

    dynamic: ClassVar[Mapping[str, tf.DType]] = MappingProxyType(
        {"eps": tf.float32, "step_size": tf.float32, "steps": tf.int32}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_known("loss", LOSSES)
        self._require(
            "step_size", 0 < self.step_size < math.inf, "a positive length in units of pixels in [0, 1], such as 2/255"
        )
        self._require("decay", 0 <= self.decay < math.inf, "a number of at least 0")
        self._require("eot", is_positive_integer(self.eot), "a positive integer")
        if not self.random_start:
            self._require("restarts", self.restarts == 1, "1, since without random_start every restart is the same")

    @property
    def needed_classes(self) -> int:
        return needed_classes(self.loss, self.targeted)

    def at_radius(self, eps: float) -> Self:
        return replace(self, eps=eps, step_size=self.step_size * eps / self.eps)

    def process(self, logits_of: LogitsOf) -> Process[GradientState | MomentumState]:
        look = with_gradient(logits_of, LOSSES[self.loss][self.targeted], self.eot)

        def start(images: Images) -> GradientState | MomentumState:
            x = images.x
            state = GradientState(self.first(x, images.seeds), tf.zeros_like(images.y, tf.bool))
            return MomentumState(*state, tf.zeros_like(x)) if self.decay > 0 else state

        def step(
            images: Images, count: tf.Tensor, state: GradientState | MomentumState
        ) -> GradientState | MomentumState:
            x, moved = images.x, state.adversarial
            logits, _, gradient = look(moved, images.y)
            if isinstance(state, MomentumState):
                normed = tf.math.divide_no_nan(gradient, per_image(tf.reduce_sum, tf.abs(gradient)))
                gradient = self.decay * state.momentum + normed
                state = state._replace(momentum=gradient)
            return state._replace(
                adversarial=self.moved(x, moved, gradient),
                is_adversarial=(predicted(logits) == images.y) == self.targeted,
            )

        return Process(start, step)

    def first(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns where the attack on images x (B, ...) starts: `random_start` says."""
        ball = NORMS[self.norm]
        return ball.keep(x, ball.start(seeds, x, self.eps), self.eps) if self.random_start else x

    def moved(self, x: tf.Tensor, adversarial: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the images (B, ...) after a step along the gradient from `adversarial`, in the balls around `x`."""
        ball = NORMS[self.norm]
        return ball.keep(x, adversarial - x + self.step_size * ball.direction(gradient), self.eps)


def fgsm(eps: float, norm: str = "linf", **options: Any) -> GradientAttack:
    """Returns the fast gradient method: one step of length eps from the clean image (Goodfellow et al., 2015)."""
    return GradientAttack(eps, eps, 1, norm=norm, **options)


def pgd(
    eps: float,
    step_size: float,
    steps: int,
    *,
    norm: str = "linf",
    random_start: bool = True,
    eot: int = 1,
    **options: Any,
) -> GradientAttack:
    """Returns projected gradient descent from a random start in the ball (Madry et al., 2018).

    On the loss "margin" it is the attack that is often called CW in L-infinity.
    """
    return GradientAttack(eps, step_size, steps, norm=norm, random_start=random_start, eot=eot, **options)


def mim(
    eps: float, step_size: float, steps: int, *, norm: str = "linf", decay: float = 1.0, **options: Any
) -> GradientAttack:
    """Returns the momentum iterative method, from the clean image (Dong et al., 2018)."""
    return GradientAttack(eps, step_size, steps, norm=norm, decay=decay, **options)
