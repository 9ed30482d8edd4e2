"""Signs that an evaluation is deceived: that attacks fail because gradients mislead them.

A model can withstand gradient attacks by hiding its gradients, and fail all the same under other attacks (Athalye et
al., 2018; Carlini et al., 2019, "On Evaluating Adversarial Robustness"). Each check counts images on which that shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from racl_tf import seeding
from racl_tf.attacks import Attack, Classifier, fgsm, image_seeds, pgd
from racl_tf.attacks.checks import check_images
from racl_tf.attacks.classifier import as_classifier
from racl_tf.attacks.losses import LOSSES, predicted
from racl_tf.attacks.norms import NORMS
from racl_tf.attacks.process import LogitsOf
from racl_tf.attacks.square import Square
from racl_tf.errors import UsageError
from racl_tf.evaluation.masking_report import MaskingCheck, MaskingReport
from racl_tf.evaluation.results import Evaluation
from racl_tf.evaluation.robustness import evaluate
from racl_tf.evaluation.task import as_images

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data

STEPS, FEW_STEPS, RESTARTS, QUERIES, DRAWS = 100, 20, 3, 200, 10
_SAME = 1e-4  # relative difference of logits that rounding alone can make
_ALIKE = 1e-2  # the same in batches of other sizes, where half precision is summed in another order

_PREFIX = "check by "  # of the attacks' names, as the progress bars show them


class _Check(NamedTuple):
    measure: str  # what is counted
    limit: float  # the share up to which that is usual
    meaning: str  # of a larger one


# A sound model, trained plainly or adversarially, loses to weaker attacks a few images that a gradient attack misses by
# its random start.
_CHECKS = {
    "one step": _Check(
        "fall to FGSM, stand under PGD",
        0.02,
        "Gradients mislead after the first step: evaluate by autoattack, part of which needs none.",
    ),
    "black box": _Check(
        f"fall to Square with {QUERIES} queries, stand under PGD",
        0.02,
        "A search without gradients finds more than they do: report the worst case of autoattack, Square included.",
    ),
    "transfer": _Check(
        "fall to images crafted on another model, stand under PGD",
        0.02,
        "Another model's gradients serve better than its own: attack a smooth stand-in for what hides them (BPDA).",
    ),
    "large radius": _Check(
        "stand at the radius at which they can become uniform grey, which the model puts in another class",
        0.01,
        "There none can stand, so the attack fails: mend it before trusting any figure.",
    ),
    "more steps": _Check(
        f"stand {FEW_STEPS} steps of PGD, fall within {STEPS}",
        0.05,
        "The attack has not converged: report more steps, or autoattack, which chooses its own step sizes.",
    ),
    "saturation": _Check(
        f"stand {FEW_STEPS} steps of PGD on cross-entropy, fall to it on the margin",
        0.05,
        "Cross-entropy is the wrong loss here, as it is for large logits: attack with loss='margin' or 'dlr'.",
    ),
    "zero gradients": _Check(
        "have a gradient of the cross-entropy that is exactly 0",
        0.05,
        "The loss saturates or a step cannot be differentiated: attack with loss='margin' or 'dlr', and with Square.",
    ),
    "zero margin gradients": _Check(
        "have a gradient of the margin that is exactly 0",
        0.05,
        "A step of the model cannot be differentiated: attack a smooth stand-in for it (BPDA), or with Square.",
    ),
    "noise": _Check(
        f"fall to one of {DRAWS} draws of noise, of those that fall to noise or PGD",
        0.6,
        "The attack finds little more than chance does, so its gradients say nothing: evaluate by autoattack.",
    ),
    "randomness": _Check(
        "get other logits when shown again",
        0.0,
        "The model is random at inference: average gradients (eot=20) and use autoattack(version='rand').",
    ),
    "batch": _Check(
        "get other logits when shown among other images",
        0.05,
        "The model normalizes by its batch, as in training mode, so that no figure holds: run it in inference mode.",
    ),
}


def check_for_masking(
    model: keras.Model | Classifier,
    data: Data,
    *,
    eps: float = 8 / 255,
    norm: str = "linf",
    images: int = 200,
    batch_size: int = 128,
    seed: int = 0,
    transfer_from: keras.Model | Classifier | None = None,
    progress: bool = True,
) -> MaskingReport:
    """Returns signs that gradient attacks on a model fail because its gradients are masked.

    PGD is 100 steps on cross-entropy and three times 20 on the margin, with steps of eps / 4 and random starts. None of
    the checks proves anything; a model that passes deserves `autoattack` all the same.

    Arguments:
        model: a Keras model from images in [0, 1] to logits, or a `Classifier`.
        data: images and true labels.
        eps: radius of the ball in units of pixels in [0, 1].
        norm: a name in `NORMS`, "linf" or "l2".
        images: number of images drawn from the data; those that are misclassified clean are left out.
        batch_size: number of images attacked at once.
        seed: of the choice of images and of noise.
        transfer_from: another model of the same classes, trained without defence for best effect.
        progress: whether to show bars with the time left.

    Raises:
        UsageError: for data or a model that cannot be attacked.
    """
    x, y = _draw(data, images, seed)
    attacks = {f"{_PREFIX}{name}": attack for name, attack in _attacks(eps, norm, x.shape[1:]).items()}
    evaluation = evaluate(model, (x, y), attacks, batch_size=batch_size, seed=seed, progress=progress)
    clean, counts = evaluation.clean, dict.fromkeys(_CHECKS, (0, 0))
    if clean.any():
        probe = _Probe(as_classifier(model), x[clean], y[clean], batch_size, seed)
        transferred = (
            None if transfer_from is None else probe.misclassified_by_transfer(transfer_from, attacks[f"{_PREFIX}pgd"])
        )
        counts |= _counts(evaluation, probe, probe.misclassified_by_noise(eps, norm), transferred)
    checks = (
        MaskingCheck(name, check.measure, *counts[name], check.limit, check.meaning) for name, check in _CHECKS.items()
    )
    return MaskingReport(tuple(checks), int(clean.sum()), eps, norm, seed)


def _counts(
    evaluation: Evaluation, probe: _Probe, by_noise: np.ndarray, transferred: np.ndarray | None
) -> dict[str, tuple[int, int]]:
    """Returns for each check how many images it counts, and of how many."""
    clean = evaluation.clean
    outcomes = {name.removeprefix(_PREFIX): outcomes for name, outcomes in evaluation.outcomes.items()}
    is_adversarial = {name: found.is_adversarial[clean] for name, found in outcomes.items()}
    late = outcomes["pgd"].steps[clean] > FEW_STEPS
    first_run = outcomes["margin"].passed[clean] == 0
    is_robust = ~is_adversarial["pgd"] & ~is_adversarial["margin"]
    counted_images = {
        "one step": is_robust & is_adversarial["fgsm"],
        "large radius": ~is_adversarial["grey"][probe.unlike_gray()],
        "more steps": is_adversarial["pgd"] & late,
        "saturation": is_adversarial["margin"] & first_run & (late | ~is_adversarial["pgd"]),
        "zero gradients": probe.lacks_gradients("cross_entropy"),
        "zero margin gradients": probe.lacks_gradients("margin"),
        "randomness": probe.changes(),
        "batch": probe.depends_on_batch(),
    }
    counts = {name: (int(counted.sum()), len(counted)) for name, counted in counted_images.items()}
    counts["noise"] = int(by_noise.sum()), int((by_noise | is_adversarial["pgd"]).sum())
    for name, found in (("black box", is_adversarial.get("square")), ("transfer", transferred)):
        counts[name] = (0, 0) if found is None else (int((is_robust & found).sum()), len(found))
    return counts


def _draw(data: Data, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if images < 1:
        raise UsageError(f"Received an invalid value for `images`, expected at least 1. Received: {images}.")
    shuffled = np.random.default_rng(seeding.derive(seed, "masking")).permutation
    data = as_images(data)
    if isinstance(data, tuple):
        x, y = check_images(*data)
        index = shuffled(len(y))[:images]
        return x[index], y[index]
    index = shuffled(len(data))[:images]
    return data.images(index), data.y[index]


def _attacks(eps: float, norm: str, shape: tuple[int, ...]) -> dict[str, Any]:
    gray = 0.5 if norm == "linf" else 0.5 * math.prod(shape) ** 0.5
    square = {"square": Square(eps, QUERIES, norm=norm)} if len(shape) == 3 else {}
    return square | {
        "fgsm": fgsm(eps, norm),
        "pgd": pgd(eps, eps / 4, STEPS, norm=norm),
        "margin": pgd(eps, eps / 4, FEW_STEPS, norm=norm, loss="margin", restarts=RESTARTS),
        "grey": tuple(pgd(gray, gray / 4, STEPS, norm=norm, loss=loss) for loss in ("cross_entropy", "margin")),
    }


@dataclass(frozen=True, eq=False)
class _Probe:
    """What a classifier is asked, besides attacks, about images that it gets right; every answer is bool (N,)."""

    classifier: Classifier
    x: np.ndarray
    y: np.ndarray
    batch_size: int
    seed: int

    def misclassified_by_noise(self, eps: float, norm: str) -> np.ndarray:
        """Returns which are misclassified in one of several uniform draws from the ball."""
        is_adversarial = np.zeros(len(self.y), bool)
        for draw in range(DRAWS):
            seeds = image_seeds(seeding.fold(self.seed, "masking", draw), np.arange(len(self.y)))
            noise = NORMS[norm].start(seeds, tf.constant(self.x), tf.constant(eps)).numpy()
            is_adversarial |= self._misclassified(np.clip(self.x + noise, 0, 1))
        return is_adversarial

    def misclassified_by_transfer(self, source: keras.Model | Classifier, attack: Attack) -> np.ndarray:
        """Returns which are misclassified as an attack on another model leaves them."""
        index = np.arange(len(self.y))
        crafted = self._batched(
            lambda x, y, index: attack(source, x, y, seed=self.seed, index=index), self.x, self.y, index
        )
        return self._misclassified(crafted)

    def lacks_gradients(self, loss: str) -> np.ndarray:
        """Returns for which the gradient of a loss with respect to the image is exactly 0."""
        return self._batched(lambda x, y: self.classifier.call(_vanish, loss, {"x": x, "y": y}), self.x, self.y)

    def changes(self) -> np.ndarray:
        """Returns which get other logits when they are shown again."""
        first, second = self._batched(self.classifier.logits, self.x), self._batched(self.classifier.logits, self.x)
        return np.abs(first - second).max(axis=1) > _SAME * np.abs(first).max(axis=1)

    def depends_on_batch(self) -> np.ndarray:
        """Returns which get other logits when as many black images are shown beside, but not when shown again."""

        def among_black(x: np.ndarray) -> np.ndarray:
            return self.classifier.logits(np.concatenate([x, 0 * x]))[: len(x)]

        usual = self._batched(self.classifier.logits, self.x)
        moved = np.abs(usual - self._batched(among_black, self.x)).max(axis=1)
        return (moved > _ALIKE * np.abs(usual).max(axis=1)) & ~self.changes()

    def unlike_gray(self) -> np.ndarray:
        """Returns which are of another class than the model gives to uniform grey."""
        return self._misclassified(np.full_like(self.x, 0.5))

    def _misclassified(self, x: np.ndarray) -> np.ndarray:
        return predicted(self._batched(self.classifier.logits, x)).numpy() != self.y

    def _batched(self, function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
        size = self.batch_size
        batches = [tuple(array[start : start + size] for array in arrays) for start in range(0, len(self.y), size)]
        return np.concatenate([np.asarray(function(*batch)) for batch in batches])


def _vanish(loss: str, logits_of: LogitsOf, arrays: dict[str, tf.Tensor]) -> tf.Tensor:
    x = arrays["x"]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        total = tf.reduce_sum(LOSSES[loss][0](logits_of(x), arrays["y"]))
    gradient = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.reduce_all(gradient == 0, axis=list(range(1, x.shape.rank)))
