"""What an attack is, as a value, and the ways to run it."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self, cast

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from racl_tf import seeding
from racl_tf.attacks.checks import check_images
from racl_tf.attacks.classifier import Classifier, as_classifier
from racl_tf.attacks.losses import margin
from racl_tf.attacks.norms import NORMS, where
from racl_tf.attacks.process import Images, LogitsOf, Process, image_seeds, run
from racl_tf.errors import UsageError, unknown


class Attack(abc.ABC):
    """What is done to images to have them misclassified inside the eps-ball around each and inside [0, 1].

    A subclass is a frozen dataclass that says how images move (`process`). Its dynamic fields are tensors inside a
    compiled graph, so that attacks that differ in them alone share a trace; all others are static and select one.

    Arguments of every subclass:
        eps: radius of the ball in units of pixels in [0, 1]; in (0, 1] for "linf", positive for "l2".
        norm: a name in `NORMS`, "linf" or "l2".
        steps: number of steps, at least 1.

    And of some:
        loss: a name in `LOSSES`; "" for attacks that have no choice.
        targeted: whether labels are targets to reach rather than classes to leave.
        targets: number of classes aimed at in turn, the likeliest first; 0 for attacks without aim.
        restarts: number of runs with other noise, at least 1.
        eot: number of evaluations of a random model that each gradient is the mean of, at least 1.
    """

    eps: float
    norm: str
    steps: int
    loss: str = ""
    targeted: bool = False
    targets: int = 0
    restarts: int = 1
    eot: int = 1

    dynamic: ClassVar[Mapping[str, tf.DType]] = MappingProxyType({"eps": tf.float32})
    """The names of the dynamic fields, with the types of their tensors."""

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
                "Use the loss 'margin' or 'cross_entropy'; by name autoattack_margin, autoattack_rand_margin, "
                "apgd_margin or apgd_t_margin."
            )

    @abc.abstractmethod
    def process(self, logits_of: LogitsOf) -> Process[Any]:
        """Returns how images move, as graph code, in which the dynamic fields may be scalar tensors.

        Arguments:
            logits_of: maps images (B, ...) in [0, 1] to logits (B, K), without changing any state.
        """

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

    def at_radius(self, eps: float) -> Self:
        """Returns the attack with another eps, and all lengths in the same ratio to it."""
        return replace(cast(Any, self), eps=eps)

    @property
    def static(self) -> StaticAttack:
        """The attack without the values of its dynamic fields: what selects a trace."""
        names = (field.name for field in fields(cast(Any, self)) if field.name not in self.dynamic)
        return StaticAttack(type(self), tuple((name, getattr(self, name)) for name in names))

    @property
    def dynamic_values(self) -> dict[str, tf.Tensor]:
        """The values of the dynamic fields as scalar tensors."""
        return {name: tf.constant(getattr(self, name), dtype) for name, dtype in self.dynamic.items()}

    def perturb(self, logits_of: LogitsOf, x: tf.Tensor, y: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns adversarial images (B, ...) as part of the caller's graph, for a training step; nothing is checked.

        Of several runs (restarts, targets) each image keeps the result of largest margin. No gradient flows out.

        Arguments:
            logits_of: maps images like `x` to logits (B, K), without changing any state.
            x: images, float32 (B, ...) in [0, 1].
            y: labels, or targets if `targeted`, integer (B,).
            seeds: one stateless seed per image, int32 (B, 2); see `image_seeds`.
        """
        x, y = tf.stop_gradient(x), tf.cast(y, tf.int32)

        def logits(images: tf.Tensor) -> tf.Tensor:
            return tf.cast(logits_of(images), tf.float32)

        process = self.process(logits)
        ranked = tf.argsort(logits(x) if self.targets else tf.zeros([0, 2]), direction="DESCENDING", stable=True)
        runs = self.runs(ranked.shape[-1])

        def once(number: tf.Tensor) -> tf.Tensor:
            images = Images(x, y, self.target(ranked, y, number), run_seeds(seeds, number))
            return tf.stop_gradient(run(process, images, self.steps))

        if runs == 1:
            return once(tf.constant(0))

        def again(number: tf.Tensor, best: tf.Tensor, best_value: tf.Tensor) -> tuple[tf.Tensor, ...]:
            moved = once(number)
            value = margin(logits(moved), y) * (-1 if self.targeted else 1)
            better = value > best_value
            return number + 1, where(better, moved, best), tf.maximum(value, best_value)

        loop = (tf.constant(0), x, tf.fill(tf.shape(y), -math.inf))
        return tf.stop_gradient(tf.while_loop(lambda number, *_: number < runs, again, loop)[1])

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
        in dynamic fields alone, share a trace. An image's noise depends on `seed` and its index alone, not on its
        place or its neighbours.

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
        return classifier.call(_perturb, self.static, arrays, seed=seed_pair, values=self.dynamic_values).numpy()

    @property
    def title(self) -> str:
        """The attack's kind, with its loss, targets, restarts and evaluations for a mean where it has some."""
        parts = [self.loss, "targeted" if self.targets else ""]
        parts += [f"{self.restarts} restarts" if self.restarts > 1 else ""]
        title = " ".join(part for part in (type(self).__name__, *parts) if part)
        return title if self.eot == 1 else f"{title}, mean of {self.eot}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the name of the attack's kind and its fields, for records."""
        return {"kind": type(self).__name__} | asdict(cast(Any, self)) | {"steps": self.steps}


@dataclass(frozen=True)
class StaticAttack:
    """An attack without the values of its dynamic fields, by which compiled graphs are told apart.

    Arguments:
        attack_type: the class of the attack.
        fields: the names and values of its static fields.

    >>> from racl_tf.attacks import pgd
    >>> pgd(8 / 255, 2 / 255, 20).static == pgd(4 / 255, 1 / 255, 10).static
    True
    """

    attack_type: type[Attack]
    fields: tuple[tuple[str, Any], ...]

    def bind(self, values: Mapping[str, tf.Tensor]) -> Attack:
        """Returns the attack whose dynamic fields are these tensors, unchecked; for use inside a graph."""
        attack = object.__new__(self.attack_type)
        for name, value in (*self.fields, *values.items()):
            object.__setattr__(attack, name, value)
        return attack


def run_seeds(seeds: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Returns the seeds (B, 2) of a run, which differ from those of every other: `number` is a scalar or (B,)."""
    return seeds + tf.stack([tf.broadcast_to(number, tf.shape(seeds)[:1]), tf.zeros_like(seeds[:, 1])], axis=1)


def is_positive_integer(value: object) -> bool:
    """Returns whether a value is an integer of at least 1 and no boolean."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _perturb(
    static: StaticAttack,
    logits_of: LogitsOf,
    arrays: dict[str, tf.Tensor],
    *,
    seed: tf.Tensor,
    values: dict[str, tf.Tensor],
) -> tf.Tensor:
    seeds = image_seeds(seed, arrays["index"])
    return static.bind(values).perturb(logits_of, arrays["x"], arrays["y"], seeds)
