"""Carlini and Wagner's attack in L2, which looks for the nearest misclassified image."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import tensorflow as tf

from racl_tf.attacks.attack import Attack, is_positive_integer
from racl_tf.attacks.losses import margin, predicted
from racl_tf.attacks.norms import finite, per_image, where
from racl_tf.attacks.process import Images, LogitsOf, Process, like

FIRST_CONSTANT = 1e-3  # c of the first search, as the authors' code has it
BETA_1, BETA_2, TINY = 0.9, 0.999, 1e-8  # of Adam
INSIDE = 0.999999  # by which images are drawn to grey, so that tanh reaches them


class CarliniWagnerState(NamedTuple):
    """The state of the attack; see `AttackState`.

    Arguments:
        adversarial, is_adversarial: as every attack's.
        w: where tanh makes `adversarial` of, (B, ...).
        mean, square: Adam's moving means of the gradient by w and of its square, (B, ...).
        constant: c, (B,).
        low: the largest c whose search found nothing, (B,); 0 before there is one.
        high: the smallest c whose search found something, (B,); infinite before there is one.
        found: whether this search has shown a misclassified image, bool (B,).
        nearest: the nearest misclassified image shown so far, (B, ...); the clean one before there is any.
        distance: of `nearest`, (B,); infinite before there is any.
    """

    adversarial: tf.Tensor
    is_adversarial: tf.Tensor
    w: tf.Tensor
    mean: tf.Tensor
    square: tf.Tensor
    constant: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor
    found: tf.Tensor
    nearest: tf.Tensor
    distance: tf.Tensor


@dataclass(frozen=True)
class CarliniWagner(Attack):
    """The attack in L2 of Carlini and Wagner (2017, arXiv 1608.04644, Section VI.A).

    It minimises, with the images in [0, 1] by a change of variables, by Adam over w,

        ||x' - x||_2^2 + c max(z_y - max over i != y of z_i + confidence, 0),   x' = (tanh(w) + 1) / 2,

    from x' = x, and searches for the smallest c of success: c is multiplied by 10 until a search finds a misclassified
    image, then halves the interval between the largest that failed and the smallest that did not. Each image has its
    own c. There is no noise, and no ball to stay in: the result is the nearest misclassified image found, or the clean
    one if that is farther than `eps`. An evaluation ends at the first inside `eps`. Adam's first step moves every pixel
    by up to half of the learning rate, so that an image nearer to the boundary than that is found farther than it is.

    Arguments:
        eps: the radius inside which an image counts, positive, in units of pixels in [0, 1].
        binary_search_steps: number of values of c that are tried, at least 1; the authors' 9.
        iterations: steps of Adam for each, at least 1; the authors' code has up to 10,000.
        norm: "l2".
        learning_rate: of Adam, positive; the authors' 0.01.
        confidence: the margin that is asked for, at least 0; the authors' 0.

    Differences from the authors' code: a search makes all of its iterations rather than ending where the objective
    falls no more. Every misclassified image counts, whatever the confidence.

    Raises:
        UsageError: for a value outside its range, or the norm "linf".
    """

    eps: float
    binary_search_steps: int = 9
    iterations: int = 1000
    _: KW_ONLY
    norm: str = "l2"
    learning_rate: float = 0.01
    confidence: float = 0.0

    def __post_init__(self) -> None:
        self._require("binary_search_steps", is_positive_integer(self.binary_search_steps), "a positive integer")
        self._require("iterations", is_positive_integer(self.iterations), "a positive integer")
        super().__post_init__()
        self._require(
            "norm", self.norm == "l2", "'l2', in which it measures; in 'linf' take PGD on the margin ('cw20')"
        )
        self._require("learning_rate", 0 < self.learning_rate < math.inf, "a positive number")
        self._require("confidence", 0 <= self.confidence < math.inf, "a number of at least 0")

    @property
    def steps(self) -> int:  # type: ignore[override]
        """The number of steps of all searches."""
        return self.binary_search_steps * self.iterations

    def process(self, logits_of: LogitsOf) -> Process[CarliniWagnerState]:
        def start(images: Images) -> CarliniWagnerState:
            def fill(value: float | bool) -> tf.Tensor:
                return tf.fill(tf.shape(images.y), value)

            w = _to_tanh(images.x)
            return CarliniWagnerState(
                adversarial=_from_tanh(w),
                is_adversarial=fill(False),
                w=w,
                mean=tf.zeros_like(w),
                square=tf.zeros_like(w),
                constant=fill(FIRST_CONSTANT),
                low=fill(0.0),
                high=fill(math.inf),
                found=fill(False),
                nearest=images.x,
                distance=fill(math.inf),
            )

        def step(images: Images, count: tf.Tensor, state: CarliniWagnerState) -> CarliniWagnerState:
            x, number = images.x, tf.math.floormod(count, self.iterations)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(state.w)
                moved = _from_tanh(state.w)
                logits = logits_of(moved)
                squares = tf.reshape(per_image(tf.reduce_sum, (moved - x) ** 2), [-1])
                objective = squares + state.constant * tf.maximum(self.confidence - margin(logits, images.y), 0.0)
            gradient = tape.gradient(objective, state.w, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            fooled, distance = predicted(logits) != images.y, tf.sqrt(squares)
            nearer = fooled & (distance < state.distance)
            state = state._replace(
                is_adversarial=fooled & (distance <= self.eps),
                found=state.found | fooled,
                nearest=where(nearer, moved, state.nearest),
                distance=tf.where(nearer, distance, state.distance),
            )
            state = self._adam(state, finite(gradient), like(tf.cast(number + 1, tf.float32), x))
            state = _next_constant(images, state, number == self.iterations - 1)
            return state._replace(adversarial=_from_tanh(state.w))

        def finish(images: Images, state: CarliniWagnerState) -> tf.Tensor:
            return where(state.distance <= self.eps, state.nearest, images.x)

        return Process(start, step, finish)

    def _adam(self, state: CarliniWagnerState, gradient: tf.Tensor, number: tf.Tensor) -> CarliniWagnerState:
        """Returns the state after step `number` of Adam, from 1 (Kingma and Ba, 2015, Algorithm 1)."""
        mean = BETA_1 * state.mean + (1 - BETA_1) * gradient
        square = BETA_2 * state.square + (1 - BETA_2) * gradient**2
        ahead = mean / (1 - BETA_1**number) / (tf.sqrt(square / (1 - BETA_2**number)) + TINY)
        return state._replace(w=state.w - self.learning_rate * ahead, mean=mean, square=square)


def _next_constant(images: Images, state: CarliniWagnerState, ends: tf.Tensor) -> CarliniWagnerState:
    """Returns the state with the next c, and its search at the start, for the images whose search ends, bool (B,)."""
    low = tf.where(state.found, state.low, state.constant)
    high = tf.where(state.found, state.constant, state.high)
    constant = tf.where(tf.math.is_inf(high), 10 * state.constant, (low + high) / 2)
    zeros = tf.zeros_like(state.mean)
    return state._replace(
        w=where(ends, _to_tanh(images.x), state.w),
        mean=where(ends, zeros, state.mean),
        square=where(ends, zeros, state.square),
        constant=tf.where(ends, constant, state.constant),
        low=tf.where(ends, low, state.low),
        high=tf.where(ends, high, state.high),
        found=state.found & ~ends,
    )


def _to_tanh(x: tf.Tensor) -> tf.Tensor:
    return tf.atanh(INSIDE * (2 * x - 1))


def _from_tanh(w: tf.Tensor) -> tf.Tensor:
    return (tf.tanh(w) + 1) / 2
