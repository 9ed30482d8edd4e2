"""The Square attack: random search with squares, without gradients (Andriushchenko et al., 2020, arXiv 1912.00049)."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from racl_tf.attacks.attack import Attack
from racl_tf.attacks.losses import margin, predicted
from racl_tf.attacks.noise import signs, uniforms
from racl_tf.attacks.norms import NORMS, l2_direction, where
from racl_tf.attacks.process import Images, LogitsOf, Process
from racl_tf.errors import UsageError

# The queries, of 10000, after which the changed share of an image is halved.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
TILES = 5  # along the shorter side of an image, in the start for "l2"


class SquareState(NamedTuple):
    """The state of the Square attack; see `AttackState`.

    Arguments:
        adversarial, is_adversarial: as every attack's.
        best: the image of largest margin loss shown so far, (B, ...); the clean one before there is any.
        best_value: its loss, (B,).
    """

    adversarial: tf.Tensor
    is_adversarial: tf.Tensor
    best: tf.Tensor
    best_value: tf.Tensor


@dataclass(frozen=True)
class Square(Attack):
    """The Square attack of Andriushchenko et al. (2020), which asks the model for logits alone.

    Each step changes a random square of the best perturbation so far and keeps the change if the margin loss rises.
    For "linf" (Algorithm 2) every channel of the square moves by 2 eps up or down; the start is vertical stripes of
    +-eps. For "l2" (Algorithm 3) the square gets the pattern of Eq. 2, with the norm that it had, that of a second
    square, which becomes 0, and what is left of eps; the start is a grid of such patterns.

    Differences from the authors' code: a square may also lie at the lower and right edge; every image draws its own.

    Arguments:
        eps: radius of the ball in units of pixels in [0, 1]; in (0, 1] for "linf", positive for "l2".
        steps: number of changes tried, at least 1.
        norm: a name in `NORMS`, "linf" or "l2".
        p_init: share of the image that the first squares cover, in (0, 1].
        rescale: whether the schedule, made for 10000 queries, is rescaled to `steps`, as in the paper; the
            standard version of AutoAttack leaves that out.
        restarts: number of runs with other noise, at least 1.

    Raises:
        UsageError: for a value outside its range or an unknown name; in use, for images that are not (H, W, C).

    >>> square = Square(8 / 255, 10000)
    >>> print([square.share(i) for i in (0, 10, 11, 51, 9999)])
    [0.8, 0.8, 0.4, 0.2, 0.0015625]
    """

    eps: float
    steps: int = 5000
    _: KW_ONLY
    norm: str = "linf"
    p_init: float = 0.8
    rescale: bool = True
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("p_init", 0 < self.p_init <= 1, "a share in (0, 1]")

    def share(self, step: int) -> float:
        """Returns the share of the image's pixels in the square that step `step`, from 0, tries."""
        return self.p_init / 2 ** self._halvings(step)

    def _halvings(self, step: int) -> int:
        queries = step * 10000 // self.steps if self.rescale else step
        return sum(queries > query for query in HALVINGS)

    def process(self, logits_of: LogitsOf) -> Process[SquareState]:
        ball = NORMS[self.norm]

        def start(images: Images) -> SquareState:
            if images.x.shape.rank != 4:
                raise UsageError(
                    "The Square attack changes squares of images (H, W, C). Received: images of shape "
                    f"{tuple(images.x.shape[1:])}. Give the model images with three axes, or use another attack."
                )
            unit = _tiles(images) if self.norm == "l2" else _stripes(images)
            return SquareState(
                adversarial=ball.keep(images.x, self.eps * unit, self.eps),
                is_adversarial=tf.zeros_like(images.y, tf.bool),
                best=images.x,
                best_value=tf.fill(tf.shape(images.y), -math.inf),
            )

        def seen(images: Images, state: SquareState) -> SquareState:
            logits = logits_of(state.adversarial)
            value = margin(logits, images.y)
            better = value > state.best_value
            return state._replace(
                is_adversarial=predicted(logits) != images.y,
                best=where(better, state.adversarial, state.best),
                best_value=tf.where(better, value, state.best_value),
            )

        def step(images: Images, count: tf.Tensor, state: SquareState) -> SquareState:
            state = seen(images, state)
            change = self._l2_change if self.norm == "l2" else self._linf_change
            halvings = tf.gather([self._halvings(i) for i in range(self.steps + 1)], tf.minimum(count, self.steps))
            delta = change(images.seeds, count + 1, halvings, state.best - images.x)
            return state._replace(adversarial=ball.keep(images.x, delta, self.eps))

        def finish(images: Images, state: SquareState) -> tf.Tensor:
            return seen(images, state).best

        return Process(start, step, finish)

    def _sides(self, height: int, width: int) -> list[int]:
        """The sides of squares after 0, 1, 2, ... halvings; for "l2" odd where the image has room."""
        shares = [self.p_init / 2**halvings for halvings in range(len(HALVINGS) + 1)]
        sides = [max(round(math.sqrt(share * height * width)), 1) for share in shares]
        if self.norm == "l2":
            sides = [max(side, 3) // 2 * 2 + 1 for side in sides]
        return [min(side, height, width) for side in sides]

    def _linf_change(self, seeds: tf.Tensor, count: tf.Tensor, halvings: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        """Returns the perturbations (B, H, W, C) moved by 2 eps up or down in a square, before the projection."""
        _, height, width, channels = delta.shape
        numbers = uniforms(seeds, count, 2 + channels)
        square = _Square.at(numbers[:, :2], tf.gather(self._sides(height, width), halvings), height, width)
        return delta + square.filled(2 * self.eps * signs(numbers[:, 2:]))

    def _l2_change(self, seeds: tf.Tensor, count: tf.Tensor, halvings: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        """Returns the perturbations (B, H, W, C) of Algorithm 3, of norm eps."""
        _, height, width, channels = delta.shape
        sides = self._sides(height, width)
        numbers = uniforms(seeds, count, 5 + channels)
        side = tf.gather(sides, halvings)
        target = _Square.at(numbers[:, :2], side, height, width)
        source = _Square.at(numbers[:, 2:4], side, height, width)
        patterns = tf.gather(_padded_patterns(sides), halvings)
        patterns = tf.where(numbers[:, 4, None, None] < 0.5, patterns, tf.transpose(patterns, [0, 2, 1]))

        ones = tf.ones_like(numbers[:, 5:])
        inside = target.filled(ones)
        both = tf.maximum(inside, source.filled(ones))
        unused = tf.maximum(self.eps**2 - tf.reduce_sum(delta**2, axis=[1, 2, 3], keepdims=True), 0.0)
        available = tf.sqrt(_per_channel(delta * both) ** 2 + unused / channels)
        new = _unit(delta * inside) + target.place(patterns, signs(numbers[:, 5:]))
        return delta * (1 - both) + available * _unit(new)


class _Square(NamedTuple):
    """One square per image.

    Arguments:
        down, right: the numbers of the image's rows and columns, 0 at the square's upper and left edge, int32 (B, H)
            and (B, W).
        side: int32 (B, 1).
    """

    down: tf.Tensor
    right: tf.Tensor
    side: tf.Tensor

    @classmethod
    def at(cls, numbers: tf.Tensor, side: tf.Tensor, height: int, width: int) -> "_Square":
        """Returns squares of the sides (B,) at uniform places, from numbers uniform in [0, 1), (B, 2)."""
        down, right = (
            tf.range(length) - tf.cast(number[:, None] * tf.cast(length - side[:, None] + 1, tf.float32), tf.int32)
            for number, length in ((numbers[:, 0], height), (numbers[:, 1], width))
        )
        return cls(down, right, side[:, None])

    def filled(self, values: tf.Tensor) -> tf.Tensor:
        """Returns values (B, C) in all pixels of the squares, and 0 elsewhere, (B, H, W, C)."""
        rows, columns = (
            tf.cast((offset >= 0) & (offset < self.side), tf.float32) for offset in (self.down, self.right)
        )
        height, width, channels = self.down.shape[1], self.right.shape[1], values.shape[1]
        # A product with one axis of pixels: one that broadcasts over channels as well takes five times as long.
        across = tf.reshape(columns[:, :, None] * values[:, None, :], [-1, 1, width * channels])
        return tf.reshape(rows[:, :, None] * across, [-1, height, width, channels])

    def place(self, patterns: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Returns patterns (B, S, S) times values (B, C) in the squares, and 0 elsewhere, (B, H, W, C)."""
        last = patterns.shape[1] - 1
        rows = tf.gather(patterns, tf.clip_by_value(self.down, 0, last), axis=1, batch_dims=1)
        placed = tf.gather(rows, tf.clip_by_value(self.right, 0, last), axis=2, batch_dims=1)
        return placed[..., None] * self.filled(values)


def pattern(side: int) -> np.ndarray:
    """Returns the pattern of Eq. 2, (side, side), of norm 1: a hill over a valley, each of half the norm squared.

    A hill of n = side // 2 rings is 1/(r+1)^2 + ... + 1/(n+1)^2 high on ring r around its middle.
    """
    rings = side // 2

    def hill(height: int) -> np.ndarray:
        ring = np.maximum(np.abs(np.arange(height) - height // 2)[:, None], np.abs(np.arange(side) - rings))
        heights = np.cumsum(1.0 / np.arange(rings + 1, 0, -1) ** 2)[::-1][ring]
        return heights / np.linalg.norm(heights)

    both = np.concatenate([hill(rings), -hill(side - rings)])
    return (both / np.linalg.norm(both)).astype(np.float32)


def _padded_patterns(sides: list[int]) -> np.ndarray:
    return np.stack([np.pad(pattern(side), (0, max(sides) - side)) for side in sides])


def _stripes(images: Images) -> tf.Tensor:
    """Returns perturbations of maximum norm 1: a random sign per column and channel, (B, 1, W, C)."""
    _, _, width, channels = images.x.shape
    return tf.reshape(signs(uniforms(images.seeds, 0, width * channels)), [-1, 1, width, channels])


def _tiles(images: Images) -> tf.Tensor:
    """Returns perturbations of norm 1: a grid of patterns, each turned or not and with a random sign per channel."""
    _, height, width, channels = images.x.shape
    side = max(min(height, width) // TILES, 1)
    rows, columns = height // side, width // side
    numbers = uniforms(images.seeds, 0, rows * columns * (1 + channels))
    numbers = tf.reshape(numbers, [-1, rows, 1, columns, 1, 1 + channels])
    upright = tf.constant(pattern(side)[:, None, :, None])
    turned = tf.transpose(upright, [2, 1, 0, 3])
    tiles = tf.where(numbers[..., :1] < 0.5, upright, turned) * signs(numbers[..., 1:])
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    grid = tf.reshape(tiles, [-1, rows * side, columns * side, channels])
    return l2_direction(tf.image.pad_to_bounding_box(grid, top, left, height, width))


def _per_channel(values: tf.Tensor) -> tf.Tensor:
    return tf.norm(values, axis=[1, 2], keepdims=True)


def _unit(values: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(values, _per_channel(values))
