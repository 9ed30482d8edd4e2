"""The fast adaptive boundary attack (FAB), and the projection on a hyperplane inside [0, 1] that it is made of."""

import math
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from racl_tf.attacks.attack import Attack, is_positive_integer
from racl_tf.attacks.losses import predicted
from racl_tf.attacks.norms import finite, per_image, where
from racl_tf.attacks.process import Images, LogitsOf, Process, like

ALPHA_MAX = 0.1  # the most that a step leans towards the clean image
ETA = 1.05  # how far a step goes, 1 being the hyperplane: beyond it, to cross a boundary that is curved
BETA = 0.9  # where between the clean image (0) and a misclassified one (1) the next step begins

_ORDERS = {"linf": math.inf, "l2": 2}


class FABState(NamedTuple):
    """The state of FAB; see `AttackState`.

    Arguments:
        adversarial, is_adversarial: as every attack's.
        nearest: the nearest misclassified image shown so far, (B, ...); the clean one before there is any.
        distance: of `nearest`, (B,); infinite before there is any.
    """

    adversarial: tf.Tensor
    is_adversarial: tf.Tensor
    nearest: tf.Tensor
    distance: tf.Tensor


@dataclass(frozen=True)
class FAB(Attack):
    """The targeted fast adaptive boundary attack, which looks for the nearest misclassified image.

    With f = z_t - z_y, for the label y and the target t, and w its gradient at the image x', a step takes f
    for linear. It projects x' and the clean image x on {f = 0} in [0, 1], by the smallest d' and d of the norm,
    and goes to (1 - alpha) (x' + eta d') + alpha (x + eta d), alpha = min(||d'|| / (||d'|| + ||d||), 0.1), eta = 1.05.
    From a misclassified image it first goes back to x + 0.9 (x' - x) (Croce and Hein, 2020, "Minimally
    distorted adversarial examples with a fast adaptive boundary attack", Algorithm 1). Each step costs two
    evaluations and one gradient.

    Each target is aimed at once, from the clean image, without noise. The result is the nearest misclassified image
    found, or the clean one if that is farther than `eps`, which nothing else depends on: there is no ball to stay
    in and no step size to choose.

    Arguments:
        eps: the radius inside which an image counts, in units of pixels in [0, 1]; in (0, 1] for "linf",
            positive for "l2".
        steps: number of steps, at least 1.
        norm: a name in `NORMS`, "linf" or "l2".
        targets: number of classes aimed at in turn, the likeliest first, at least 1.

    Raises:
        UsageError: for a value outside its range or an unknown name.
    """

    eps: float
    steps: int = 100
    _: KW_ONLY
    norm: str = "linf"
    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("targets", is_positive_integer(self.targets), "a positive integer")

    def process(self, logits_of: LogitsOf) -> Process[FABState]:
        length = partial(per_image, partial(tf.norm, ord=_ORDERS[self.norm]))

        def start(images: Images) -> FABState:
            return FABState(
                adversarial=images.x,
                is_adversarial=tf.zeros_like(images.y, tf.bool),
                nearest=images.x,
                distance=tf.fill(tf.shape(images.y), math.inf),
            )

        def look(images: Images, state: FABState) -> tuple[FABState, tf.Tensor]:
            """Returns the state after the candidate has been shown, and where it is misclassified, (B,)."""
            candidate = state.adversarial
            fooled = predicted(logits_of(candidate)) != images.y
            distance = tf.reshape(length(candidate - images.x), [-1])
            nearer = fooled & (distance < state.distance)
            state = state._replace(
                is_adversarial=fooled & (distance <= self.eps),
                nearest=where(nearer, candidate, state.nearest),
                distance=tf.where(nearer, distance, state.distance),
            )
            return state, fooled

        def step(images: Images, count: tf.Tensor, state: FABState) -> FABState:
            x, here = images.x, state.adversarial
            state, fooled = look(images, state)
            here = where(fooled, x + BETA * (here - x), here)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(here)
                logits = logits_of(here)
                f = tf.gather(logits, images.target, batch_dims=1) - tf.gather(logits, images.y, batch_dims=1)
            w = finite(tape.gradient(f, here, unconnected_gradients=tf.UnconnectedGradients.ZERO))
            f = like(finite(f), x)
            f_at_x = f + per_image(tf.reduce_sum, w * (x - here))
            from_here = to_hyperplane(here, w, -f, norm=self.norm)
            from_x = to_hyperplane(x, w, -f_at_x, norm=self.norm)
            near, far = length(from_here), length(from_x)
            alpha = tf.minimum(tf.math.divide_no_nan(near, near + far), ALPHA_MAX)
            mixed = (1 - alpha) * (here + ETA * from_here) + alpha * (x + ETA * from_x)
            return state._replace(adversarial=tf.clip_by_value(mixed, 0.0, 1.0))

        def finish(images: Images, state: FABState) -> tf.Tensor:
            last, _ = look(images, state)
            return where(last.distance <= self.eps, last.nearest, images.x)

        return Process(start, step, finish)


def to_hyperplane(x: tf.Tensor, w: tf.Tensor, gap: tf.Tensor, *, norm: str) -> tf.Tensor:
    """Returns the smallest d with <w, d> = gap and x + d in [0, 1], image by image; exact but for rounding.

    Along sign(gap w_i) pixel i has the room m_i. All pixels move together, each until its room is used up:
    |d_i| = min(t s_i, m_i), with s_i = 1 for "linf" and |w_i| for "l2". The time t solves
    sum_i |w_i| min(t s_i, m_i) = |gap|, whose left side is increasing, concave and piecewise linear in t: Newton's
    method from t = 0 never overshoots, leaves a piece behind at every iteration and ends on the right one, after
    fewer passes over the pixels than sorting them takes. If even the farthest corner is before the hyperplane, d
    leads there; where w is 0, d is 0.

    Arguments:
        x: images, float32 (B, ...) in [0, 1].
        w: the hyperplane's normal, like `x`.
        gap: float32, with as many axes as `x`, all but the first of length 1.
        norm: a name in `NORMS`.
    """
    largest = per_image(tf.reduce_max, tf.abs(w))  # else the squares of tiny gradients underflow
    direction = tf.sign(gap) * tf.sign(w)
    weight, goal = tf.math.divide_no_nan(tf.abs(w), largest), tf.math.divide_no_nan(tf.abs(gap), largest)
    speed = tf.ones_like(w) if norm == "linf" else weight
    room = where(direction > 0, 1 - x, x)
    reach, slope = weight * room, weight * speed

    def newton(time: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        moving = tf.cast(time * speed < room, tf.float32)
        rest = goal - per_image(tf.reduce_sum, (1 - moving) * reach)
        later = tf.math.divide_no_nan(rest, per_image(tf.reduce_sum, moving * slope))
        return tf.maximum(time, later), tf.reduce_any(later > time)

    time, _ = tf.while_loop(lambda _, rises: rises, newton, (tf.zeros_like(goal), tf.constant(True)))
    return direction * tf.minimum(tf.math.multiply_no_nan(time, speed), room)
