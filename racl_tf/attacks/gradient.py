"""Projected steepest ascent with optional momentum: FGSM, BIM, PGD and MIM."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import tensorflow as tf

from racl_tf.attacks.attack import Attack
from racl_tf.attacks.losses import LOSSES, needed_classes
from racl_tf.attacks.norms import NORMS, per_image
from racl_tf.attacks.process import Images, LogitsOf, Process, State


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

    traced: ClassVar[tuple[str, ...]] = ("eps", "step_size", "steps")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_known("loss", LOSSES)
        self._require(
            "step_size", 0 < self.step_size < math.inf, "a positive length in units of pixels in [0, 1], such as 2/255"
        )
        self._require("decay", 0 <= self.decay < math.inf, "a number of at least 0")
        if not self.random_start:
            self._require("restarts", self.restarts == 1, "1, since without random_start every restart is the same")

    @property
    def needed_classes(self) -> int:
        return needed_classes(self.loss, self.targeted)

    def process(self, logits_of: LogitsOf, *, eps: tf.Tensor, step_size: tf.Tensor) -> Process:  # type: ignore[override]
        ball, objective = NORMS[self.norm], LOSSES[self.loss][self.targeted]

        def start(images: Images) -> State:
            x = images.x
            first = ball.keep(x, ball.start(images.seeds, x, eps), eps) if self.random_start else x
            state = {"adversarial": first, "broken": tf.zeros_like(images.y, tf.bool)}
            return state | ({"momentum": tf.zeros_like(x)} if self.decay > 0 else {})

        def step(images: Images, count: tf.Tensor, state: State) -> State:
            x, moved = images.x, state["adversarial"]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(moved)
                logits = logits_of(moved)
                total = tf.reduce_sum(objective(logits, images.y))
            gradient = tape.gradient(total, moved, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
            new = {"broken": (predicted == images.y) == self.targeted}
            if self.decay > 0:
                normed = tf.math.divide_no_nan(gradient, per_image(tf.reduce_sum, tf.abs(gradient)))
                gradient = new["momentum"] = self.decay * state["momentum"] + normed
            return new | {"adversarial": ball.keep(x, moved - x + step_size * ball.direction(gradient), eps)}

        return Process(start, step)
