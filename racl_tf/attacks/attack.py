"""What a gradient attack is, as a value, and the two ways to run it."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from racl_tf import random
from racl_tf.attacks.ascent import ascend
from racl_tf.attacks.checks import check_images, check_model
from racl_tf.attacks.compiled import compiled
from racl_tf.attacks.losses import LOSSES
from racl_tf.attacks.norms import NORMS
from racl_tf.errors import UsageError, unknown


@dataclass(frozen=True)
class Attack:
    """A white-box attack: `steps` ascents of a loss inside the eps-ball around each image and inside [0, 1].

    `fgsm`, `pgd` and `mim` construct the usual ones. Of several restarts each image keeps the
    result of largest margin.

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

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown("norm", self.norm, NORMS)
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        if self.norm == "linf":
            self._require("eps", 0 < self.eps <= 1, "a radius in (0, 1], in units of pixels in [0, 1], such as 8/255")
        else:
            self._require("eps", 0 < self.eps < math.inf, "a positive radius")
        self._require(
            "step_size", 0 < self.step_size < math.inf, "a positive length in units of pixels in [0, 1], such as 2/255"
        )
        self._require("steps", _is_positive_integer(self.steps), "a positive integer")
        self._require("decay", 0 <= self.decay < math.inf, "a number of at least 0")
        self._require("restarts", _is_positive_integer(self.restarts), "a positive integer")
        if not self.random_start:
            self._require("restarts", self.restarts == 1, "1, since without random_start every restart is the same")

    def _require(self, field: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UsageError(
                f"Received an invalid value for `{field}` of an attack, expected {expected}. "
                f"Received: {field}={getattr(self, field)!r}"
            )

    def perturb(
        self, logits_of: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, y: tf.Tensor, seeds: tf.Tensor
    ) -> tf.Tensor:
        """Returns adversarial images as part of the caller's graph, for a training step; see `ascend`."""
        return ascend(logits_of, x, y, seeds, **asdict(self))

    def __call__(
        self, model: keras.Model, x: ArrayLike, y: ArrayLike, *, seed: int = 0, index: ArrayLike | None = None
    ) -> np.ndarray:
        """Returns adversarial images for a model in inference mode, as one compiled graph.

        Attacks on batches of one size that differ only in eps, step size and steps share a trace.
        An image's noise depends on `seed` and its index alone, not on its place or its neighbours.

        Arguments:
            model: a Keras model from images to logits. It is traced once; later changes of its
                weights count, later changes of its Python attributes do not.
            x: images, floating point (N, ...) in [0, 1].
            y: true labels, or targets if `targeted`, integer (N,).
            seed: of the run.
            index: numbers of the images in a larger set, integer (N,); by default their places in `x`.

        Raises:
            UsageError: for images, labels or a model that cannot be attacked, or too few classes for the loss.

        >>> model = keras.Sequential([keras.layers.Dense(2, kernel_initializer="identity")])
        >>> print(Attack(0.25, 0.25, 1)(model, np.array([[0.5, 0.5]]), np.array([0])))
        [[0.25 0.75]]
        """
        x, y = check_images(x, y)
        index = np.arange(len(x)) if index is None else np.asarray(index)
        if index.shape != y.shape or not np.issubdtype(index.dtype, np.integer):
            raise UsageError(
                f"`index` must be one integer per image: shape ({len(x)},). "
                f"Received: {index.dtype} of shape {index.shape}."
            )
        functions = compiled(model)
        check_model(functions.logits, x[:1], y)
        numbers = {
            "eps": tf.constant(self.eps, tf.float32),
            "step_size": tf.constant(self.step_size, tf.float32),
            "steps": tf.constant(self.steps, tf.int32),
        }
        seed_pair = random.fold(seed, "attack")
        return functions.ascend(
            tf.constant(x), tf.constant(y), seed_pair, tf.constant(index, tf.int32), **asdict(self) | numbers
        ).numpy()


def _is_positive_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
