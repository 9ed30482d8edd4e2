"""Auto-PGD: projected ascent that chooses its own step size (Croce and Hein, 2020, arXiv 2003.01690)."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import tensorflow as tf

from racl_tf.attacks.attack import Attack, is_positive_integer
from racl_tf.attacks.losses import LOSSES, needed_classes, predicted, with_gradient
from racl_tf.attacks.noise import normals, uniforms
from racl_tf.attacks.norms import NORMS, Norm, per_image, where
from racl_tf.attacks.process import Images, LogitsOf, Process, like

MOMENTUM = 0.75  # alpha: the share of the new step in a move
RHO = 0.75  # the share of steps since the last checkpoint that must have raised the loss


class APGDState(NamedTuple):
    """The state of Auto-PGD; see `AttackState`.

    Arguments:
        adversarial, is_adversarial: as every attack's.
        previous: the image shown before `adversarial`, (B, ...).
        best: the image of largest loss so far, (B, ...).
        best_gradient: of the loss there, (B, ...).
        step_size: in units of eps, (B,).
        loss: of the image shown last, (B,); nothing exceeds it before the first is shown.
        rises: the number of moves since the last checkpoint that raised the loss, (B,).
        best_loss: of `best`, (B,).
        checked_loss: what `best_loss` was at the last checkpoint, (B,).
        halved: whether the step size was halved there, bool (B,).
    """

    adversarial: tf.Tensor
    is_adversarial: tf.Tensor
    previous: tf.Tensor
    best: tf.Tensor
    best_gradient: tf.Tensor
    step_size: tf.Tensor
    loss: tf.Tensor
    rises: tf.Tensor
    best_loss: tf.Tensor
    checked_loss: tf.Tensor
    halved: tf.Tensor


@dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD, Algorithm 1 of Croce and Hein (2020): a white-box attack whose step size falls by what it achieves.

    With P the projection, d the norm's steepest direction and f the loss, a move is

        z(k) = P(x(k) + eta d(grad f(x(k)))),
        x(k+1) = P(x(k) + alpha (z(k) - x(k)) + (1 - alpha) (x(k) - x(k-1))),  x(1) = z(0),

    with alpha = 0.75 and at first eta = 2 eps. At each of the `checkpoints` eta is halved, and x(k) goes back to the
    best point so far, if since the last checkpoint (1) less than rho = 0.75 of the moves have raised f or (2) neither
    eta has been halved there nor the best value of f has risen since.

    The start is random at distance eps, before the images' range cuts it. The result is the point of largest f.

    Arguments:
        eps: radius of the ball in units of pixels in [0, 1]; in (0, 1] for "linf", positive for "l2".
        steps: number of moves, at least 1.
        norm: a name in `NORMS`, "linf" or "l2".
        loss: a name in `LOSSES`, "cross_entropy", "margin" or "dlr".
        restarts: number of random starts, at least 1.
        targets: number of classes to approach in turn, the likeliest first, with the loss in its targeted form;
            0 to leave the label. `targets=9, loss="dlr"` is APGD-T.
        eot: number of evaluations that logits, loss and gradient are means of, for a model that is random
            (expectation over transformation).

    Differences from the authors' code, where it differs from their Algorithm 1: condition 1 is a strict inequality,
    the first move is compared with the start's loss rather than with 0, and the first after a halving with the
    best point's, where it starts.

    Raises:
        UsageError: for a value outside its range or an unknown name.

    >>> APGD(8 / 255).checkpoints
    (22, 41, 57, 70, 80, 87, 93, 99)
    """

    eps: float
    steps: int = 100
    _: KW_ONLY
    norm: str = "linf"
    loss: str = "cross_entropy"
    restarts: int = 1
    targets: int = 0
    eot: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_known("loss", LOSSES)
        self._require("targets", self.targets == 0 or is_positive_integer(self.targets), "an integer of at least 0")
        self._require("eot", is_positive_integer(self.eot), "a positive integer")

    @property
    def needed_classes(self) -> int:
        return needed_classes(self.loss, self.targets > 0)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The numbers of moves after which the step size is judged.

        They are ceil(p_j steps), p_0 = 0, p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06).
        """
        percents, window = [22], 22
        while percents[-1] < 100:
            window = max(window - 3, 6)
            percents.append(percents[-1] + window)
        return tuple(sorted({-(-percent * self.steps // 100) for percent in percents if percent <= 100}))

    def process(self, logits_of: LogitsOf) -> Process[APGDState]:
        ball = NORMS[self.norm]
        look = with_gradient(logits_of, LOSSES[self.loss][self.targets > 0], self.eot)
        windows = self._windows()

        def start(images: Images) -> APGDState:
            def fill(value: float | bool) -> tf.Tensor:
                return tf.fill(tf.shape(images.y), value)

            first = ball.keep(images.x, self.eps * _far(ball, self.norm, images), self.eps)
            return APGDState(
                adversarial=first,
                is_adversarial=fill(False),
                previous=first,
                best=first,
                best_gradient=tf.zeros_like(first),
                step_size=fill(2.0),
                loss=fill(math.inf),
                rises=fill(0.0),
                best_loss=fill(-math.inf),
                checked_loss=fill(-math.inf),
                halved=fill(False),
            )

        def seen(images: Images, state: APGDState) -> tuple[APGDState, tf.Tensor]:
            moved = state.adversarial
            logits, loss, gradient = look(moved, images.target if self.targets else images.y)
            better = loss > state.best_loss
            state = state._replace(
                is_adversarial=predicted(logits) != images.y,
                loss=loss,
                rises=state.rises + tf.cast(loss > state.loss, tf.float32),
                best=where(better, moved, state.best),
                best_loss=tf.where(better, loss, state.best_loss),
                best_gradient=where(better, gradient, state.best_gradient),
            )
            return state, gradient

        def step(images: Images, count: tf.Tensor, state: APGDState) -> APGDState:
            x, moved = images.x, state.adversarial
            state, gradient = seen(images, state)
            state, halve = _judged(state, tf.gather(windows, tf.minimum(count, self.steps)))
            here = where(halve, state.best, moved)
            direction = ball.direction(where(halve, state.best_gradient, gradient))
            ahead = ball.keep(x, here - x + self.eps * like(state.step_size, x) * direction, self.eps)
            alpha = like(tf.where(count == 0, 1.0, MOMENTUM), x)
            delta = here - x + alpha * (ahead - here) + (1 - alpha) * (here - state.previous)
            return state._replace(adversarial=ball.keep(x, delta, self.eps), previous=here)

        def finish(images: Images, state: APGDState) -> tf.Tensor:
            return seen(images, state)[0].best

        return Process(start, step, finish)

    def _windows(self) -> tf.Tensor:
        """For every number of moves that is a checkpoint the moves since the last one, 0 for all others."""
        windows, last = [0.0] * (self.steps + 1), 0
        for checkpoint in self.checkpoints:
            windows[checkpoint] = float(checkpoint - last)
            last = checkpoint
        return tf.constant(windows)


def _judged(state: APGDState, window: tf.Tensor) -> tuple[APGDState, tf.Tensor]:
    """Returns the state after the checkpoint that ends a window of moves, if there is one, and whom it sends back."""
    check = window > 0
    stuck = ~state.halved & (state.best_loss == state.checked_loss)
    halve = check & ((state.rises < RHO * window) | stuck)
    state = state._replace(
        step_size=tf.where(halve, state.step_size / 2, state.step_size),
        loss=tf.where(halve, state.best_loss, state.loss),
        rises=tf.where(check, 0.0, state.rises),
        checked_loss=tf.where(check, state.best_loss, state.checked_loss),
        halved=tf.where(check, halve, state.halved),
    )
    return state, halve


def _far(ball: Norm, norm: str, images: Images) -> tf.Tensor:
    """Returns random perturbations of norm 1."""
    size = images.x.shape[1:].num_elements()
    if norm == "l2":
        return ball.direction(tf.reshape(normals(images.seeds, 0, size), tf.shape(images.x)))
    cube = tf.reshape(2 * uniforms(images.seeds, 0, size) - 1, tf.shape(images.x))
    return cube / per_image(tf.reduce_max, tf.abs(cube))
