"""What an attack is, as a value, and the ways to run it."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar, Self, cast

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from racl_tf import seeding
from racl_tf.attacks.checks import check_images
from racl_tf.attacks.classifier import Classifier, as_classifier
from racl_tf.attacks.losses import margin
from racl_tf.attacks.norms import NORMS
from racl_tf.attacks.process import Images, LogitsOf, Process, image_seeds, like, run
from racl_tf.errors import UsageError, unknown


class Attack(abc.ABC):
    """What is done to images to have them misclassified inside the eps-ball around each and inside [0, 1].

    A subclass is a frozen dataclass that says how images move (`process`). Its fields in `traced` are tensors
    there, so that attacks that differ in them alone share a trace; every other field selects one.

    Arguments of every subclass:
        eps: radius of the ball in units of pixels in [0, 1]; in (0, 1] for "linf", positive for "l2".
        norm: a name in `NORMS`, "linf" or "l2".
        steps: number of steps, at least 1.

    And of some:
        targeted: whether labels are targets to reach rather than classes to leave.
        targets: number of classes aimed at in turn, the likeliest first; 0 for attacks without aim.
        restarts: number of runs with other noise, at least 1.
    """

    eps: float
    norm: str
    steps: int
    targeted: bool = False
    targets: int = 0
    restarts: int = 1

    traced: ClassVar[tuple[str, ...]] = ("eps",)

    @property
    def needed_classes(self) -> int:
        """The number of classes that the attack needs at least."""
        return 2

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown("norm", self.norm, NORMS)
        if self.norm == "linf":
            self._require("eps", 0 < self.eps <= 1, "a radius in (0, 1], in units of pixels in [0, 1], such as 8/255")
        else:
            self._require("eps", 0 < self.eps < math.inf, "a positive radius")
        self._require("steps", is_positive_integer(self.steps), "a positive integer")
        self._require("restarts", is_positive_integer(self.restarts), "a positive integer")

    def _require(self, field: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UsageError(
                f"Received an invalid value for `{field}` of an attack, expected {expected}. "
                f"Received: {field}={getattr(self, field)!r}"
            )

    def _require_known(self, kind: str, known: Iterable[str]) -> None:
        if getattr(self, kind) not in known:
            raise unknown(kind, getattr(self, kind), known)

    def check_classes(self, classes: int) -> None:
        """Raises a UsageError if the attack needs more classes than there are."""
        if classes < self.needed_classes:
            raise UsageError(
                f"{self} needs at least {self.needed_classes} classes. Received: a model of {classes}. "
                "Use the loss 'margin' or 'cross_entropy'."
            )

    @abc.abstractmethod
    def process(self, logits_of: LogitsOf, **numbers: tf.Tensor) -> Process:
        """Returns how images move, as graph code.

        Arguments:
            logits_of: maps images (B, ...) in [0, 1] to logits (B, K), without changing any state.
            numbers: the fields named by `traced`, but `steps`, as scalar tensors; the fields of `self` by
                these names are not to be read.
        """

    def motion(self, logits_of: LogitsOf, numbers: Mapping[str, Any]) -> tuple[Process, Any]:
        """Returns how images move and for how many steps, given the traced fields by name."""
        others = {name: value for name, value in numbers.items() if name != "steps"}
        return self.process(logits_of, **others), numbers.get("steps", self.steps)

    def runs(self, classes: int) -> int:
        """Returns how often an image is attacked: restarts, for each target if there are any."""
        return self.restarts * (min(self.targets, classes - 1) if self.targets else 1)

    def target(self, ranked: tf.Tensor | np.ndarray, y: tf.Tensor | np.ndarray, number: Any) -> Any:
        """Returns the class that run `number` aims at, (B,): y itself without targets.

        Arguments:
            ranked: the classes by falling clean logit, (B, K).
            y: labels (B,).
            number: of the run, from 0, a scalar or one per image (B,).
        """
        if not self.targets:
            return y
        return tf.gather(ranked, tf.broadcast_to(number // self.restarts + 1, tf.shape(y)), batch_dims=1)

    @property
    def form(self) -> Self:
        """The attack without its traced numbers: what selects a trace."""
        return replace(cast(Any, self), **{name: 1 for name in self.traced})

    @property
    def numbers(self) -> dict[str, tf.Tensor]:
        """The traced fields as scalar tensors, float32, but int32 for "steps"."""
        return {
            name: tf.constant(getattr(self, name), tf.int32 if name == "steps" else tf.float32) for name in self.traced
        }

    def perturb(self, logits_of: LogitsOf, x: tf.Tensor, y: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns adversarial images (B, ...) as part of the caller's graph, for a training step; nothing is checked.

        No gradient flows out.

        Arguments:
            logits_of: maps images like `x` to logits (B, K), without changing any state.
            x: images, float32 (B, ...) in [0, 1].
            y: labels, or targets if `targeted`, integer (B,).
            seeds: one stateless seed per image, int32 (B, 2); see `image_seeds`.
        """
        return strongest(self, logits_of, x, y, seeds, {name: getattr(self, name) for name in self.traced})

    def __call__(
        self,
        model: keras.Model | Classifier,
        x: ArrayLike,
        y: ArrayLike,
        *,
        seed: int = 0,
        index: ArrayLike | None = None,
    ) -> np.ndarray:
        """Returns adversarial images for a model in inference mode, as one compiled graph.

        All steps are made, whether an image is misclassified before or not. Of several runs (restarts,
        targets) each image keeps the result of largest margin. Batches of any size, and attacks that differ
        only in the numbers named by `traced`, share a trace. An image's noise depends on `seed` and its index
        alone, not on its place or its neighbours.

        Arguments:
            model: a Keras model from images in [0, 1] to logits, or a `Classifier`. It is traced once; later
                changes of its weights count, later changes of its Python attributes do not.
            x: images, floating point (N, ...) in [0, 1].
            y: true labels, or targets if `targeted`, integer (N,).
            seed: of the run.
            index: numbers of the images in a larger set, integer (N,); by default their places in `x`.

        Raises:
            UsageError: for images, labels or a model that cannot be attacked, or too few classes for the loss.

        >>> from racl_tf.attacks import fgsm
        >>> model = keras.Sequential([keras.layers.Dense(2, kernel_initializer="identity")])
        >>> print(fgsm(0.25)(model, np.array([[0.5, 0.5]]), np.array([0])))
        [[0.25 0.75]]
        """
        x, y = check_images(x, y)
        index = np.arange(len(x)) if index is None else np.asarray(index)
        if index.shape != y.shape or not np.issubdtype(index.dtype, np.integer):
            raise UsageError(
                f"`index` must be one integer per image: shape ({len(x)},). "
                f"Received: {index.dtype} of shape {index.shape}."
            )
        classifier = as_classifier(model)
        self.check_classes(classifier.check(x, y))
        seed_pair = seeding.fold(seed, "attack")
        arrays = {"x": x, "y": y, "index": index.astype(np.int32)}
        return classifier.call(_perturb, self.form, arrays, seed=seed_pair, numbers=self.numbers).numpy()

    @property
    def title(self) -> str:
        """The attack's kind, with its loss, targets and restarts where it has some."""
        parts = [getattr(self, "loss", ""), "targeted" if self.targets else ""]
        parts += [f"{self.restarts} restarts" if self.restarts > 1 else ""]
        return " ".join(part for part in (type(self).__name__, *parts) if part)

    def to_dict(self) -> dict[str, Any]:
        """Returns the name of the attack's kind and its fields, for records."""
        return {"kind": type(self).__name__} | asdict(cast(Any, self))


def strongest(
    form: Attack, logits_of: LogitsOf, x: tf.Tensor, y: tf.Tensor, seeds: tf.Tensor, numbers: dict[str, Any]
) -> tf.Tensor:
    """Returns for each image the result of largest margin of all runs, (B, ...); graph code."""
    x, y = tf.stop_gradient(x), tf.cast(y, tf.int32)

    def logits(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(logits_of(images), tf.float32)

    process, steps = form.motion(logits, numbers)
    ranked = tf.argsort(logits(x) if form.targets else tf.zeros([0, 2]), direction="DESCENDING", stable=True)
    runs = form.runs(ranked.shape[-1])

    def once(number: tf.Tensor) -> tf.Tensor:
        images = Images(x, y, form.target(ranked, y, number), run_seeds(seeds, number))
        return tf.stop_gradient(run(process, images, steps))

    if runs == 1:
        return once(tf.constant(0))

    def again(number: tf.Tensor, best: tf.Tensor, best_value: tf.Tensor) -> tuple[tf.Tensor, ...]:
        moved = once(number)
        value = margin(logits(moved), y) * (-1 if form.targeted else 1)
        better = value > best_value
        return number + 1, tf.where(like(better, moved), moved, best), tf.maximum(value, best_value)

    loop = (tf.constant(0), x, tf.fill(tf.shape(y), -math.inf))
    return tf.stop_gradient(tf.while_loop(lambda number, *_: number < runs, again, loop)[1])


def run_seeds(seeds: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Returns the seeds (B, 2) of a run, which differ from those of every other: `number` is a scalar or (B,)."""
    return seeds + tf.stack([tf.broadcast_to(number, tf.shape(seeds)[:1]), tf.zeros_like(seeds[:, 1])], axis=1)


def is_positive_integer(value: object) -> bool:
    """Returns whether a value is an integer of at least 1 and no boolean."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _perturb(
    form: Attack, logits_of: LogitsOf, arrays: dict[str, tf.Tensor], *, seed: tf.Tensor, numbers: dict[str, tf.Tensor]
) -> tf.Tensor:
    seeds = image_seeds(seed, arrays["index"])
    return strongest(form, logits_of, arrays["x"], arrays["y"], seeds, numbers)
