"""Robust accuracy as a function of the attack's radius or of its number of steps (Figure 3 of the paper)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from racl_tf.attacks import Attack, Classifier
from racl_tf.errors import UsageError
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.evaluation.results import Plan, balls
from racl_tf.evaluation.robustness import evaluate
from racl_tf.result import TableResult
from racl_tf.tables import TextTable, format_radius

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data

PAPER_EPSILONS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07)
PAPER_STEPS = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Sweep(TableResult):
    """How many images are robust at each of several strengths of an attack.

    Arguments:
        over: what was varied, "eps" or "steps".
        values: of what was varied, rising.
        num_robust: number of images that are correct at each value, never rising.
        clean: number of images that are correct clean.
        images: number of all images.
        attacks: made at the largest value; several are an ensemble.
        seed: of the attacks' noise.

    >>> sweep = Sweep("eps", (0.01, 0.02), (3, 1), clean=4, images=5, attacks=(), seed=0)
    >>> sweep.accuracies
    (0.6, 0.2)
    """

    over: str
    values: tuple[float, ...]
    num_robust: tuple[int, ...]
    clean: int
    images: int
    attacks: Plan
    seed: int

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Robust accuracy at each value."""
        return tuple(count / self.images for count in self.num_robust)

    @property
    def intervals(self) -> tuple[tuple[float, float], ...]:
        """The 95% Wilson interval of each robust accuracy."""
        return tuple(wilson_interval(count, self.images) for count in self.num_robust)

    def rows(self) -> list[dict[str, Any]]:
        """Returns for each value the number of robust images, their share and its interval."""
        columns = zip(self.values, self.num_robust, self.accuracies, self.intervals, strict=True)
        return [
            {
                self.over: value,
                "standing": num_robust,
                "images": self.images,
                "accuracy": accuracy,
                "low": low,
                "high": high,
            }
            for value, num_robust, accuracy, (low, high) in columns
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns the curve with what it was measured by, ready for JSON."""
        attacks = [attack.to_dict() for attack in self.attacks]
        return {"over": self.over, "seed": self.seed, "clean": self.clean, "attacks": attacks, "rows": self.rows()}

    def table(self) -> TextTable:
        """Returns the curve as a table, a row for each value."""
        rows = (
            (
                format_radius(row["eps"]) if self.over == "eps" else str(row["steps"]),
                str(row["standing"]),
                f"{100 * row['accuracy']:.2f}",
                f"{100 * row['low']:.2f} to {100 * row['high']:.2f}",
            )
            for row in self.rows()
        )
        norms = dict.fromkeys(attack.norm for attack in self.attacks) if self.over == "eps" else balls(self.attacks)
        title = ", ".join((f"{self.images} images, {self.clean} correct clean", *norms, f"seed {self.seed}"))
        return TextTable(title, (self.over, "standing", "accuracy %", "95% interval"), tuple(rows))

    def __str__(self) -> str:
        return str(self.table())


def sweep_eps(
    model: keras.Model | Classifier,
    data: Data,
    attack: Attack | Plan,
    epsilons: Sequence[float] = PAPER_EPSILONS,
    *,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    folder: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Returns robust accuracy over the radius of the ball (Section 3.4).

    The radii are one ensemble of attacks, from the smallest on, of which each is made on what is robust to those
    before. Where an adversarial image is found at one radius, no larger one is tried, since its ball holds that image
    too, so the curve never rises. The size of a step keeps its ratio to eps. All radii share a trace.

    Arguments:
        model: a Keras model from images in [0, 1] to logits, or a `Classifier`.
        data: images and true labels.
        attack: not targeted, or several as an ensemble.
        epsilons: radii in units of pixels in [0, 1], rising.
        batch_size: number of images attacked at once.
        seed: of the attacks' noise.
        progress: whether to show a bar with the time left and the running robust accuracy.
        folder: where outcomes are kept, from which an interrupted sweep goes on, as in `evaluate`.

    Raises:
        UsageError: for radii that do not rise, and as `evaluate` does.

    >>> from racl_tf.attacks import fgsm
    >>> model = keras.Sequential([keras.layers.Dense(2, kernel_initializer="identity")])
    >>> data = np.array([[0.6, 0.5], [0.9, 0.5]]), np.array([0, 0])
    >>> sweep_eps(model, data, fgsm(1.0), (0.01, 0.1, 0.3), progress=False).num_robust
    (2, 1, 0)
    """
    epsilons = rising("epsilons", epsilons)
    plan = attack if isinstance(attack, tuple) else (attack,)
    plans = [tuple(member.at_radius(eps) for member in plan) for eps in epsilons]
    name = f"eps {epsilons[0]:.4g} to {epsilons[-1]:.4g}"
    evaluation = evaluate(
        model, data, {name: sum(plans, ())}, batch_size=batch_size, seed=seed, progress=progress, folder=folder
    )
    num_robust = tuple(evaluation.stages(name)[len(plan) - 1 :: len(plan)])
    return Sweep("eps", epsilons, num_robust, evaluation.count("clean"), len(evaluation.labels), plans[-1], seed)


def sweep_steps(
    model: keras.Model | Classifier,
    data: Data,
    attack: Attack,
    steps: Sequence[int] = PAPER_STEPS,
    *,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    folder: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Returns robust accuracy over the number of steps (Section 3.4), from one run of the most steps.

    An image that is made adversarial after s steps counts as robust at every smaller number and as not at every
    larger one, so the curve never rises. For FGSM, PGD and MIM that is what runs of each number of steps give. Attacks
    that plan ahead (Auto-PGD, Square) move otherwise when fewer steps are left: theirs is how far one long run came.

    Arguments:
        model: a Keras model from images in [0, 1] to logits, or a `Classifier`.
        data: images and true labels.
        attack: not targeted, of one run: without restarts and without several targets. Its own `steps` do not count.
        steps: numbers of steps, rising.
        batch_size: number of images attacked at once.
        seed: of the attack's noise.
        progress: whether to show a bar with the time left and the running robust accuracy.
        folder: where outcomes are kept, from which an interrupted sweep goes on, as in `evaluate`.

    Raises:
        UsageError: for numbers that do not rise, an attack of several runs, and as `evaluate` does.
    """
    steps = rising("steps", steps)
    if attack.restarts > 1 or attack.targets:
        raise UsageError(
            "A sweep over steps needs an attack of one run, since of several it is only known in which one an image "
            f"fell. Received: restarts={attack.restarts}, targets={attack.targets}. Use restarts=1 and targets=0."
        )
    longest, name = replace(attack, steps=steps[-1]), f"{steps[0]} to {steps[-1]} steps"  # type: ignore[type-var]
    evaluation = evaluate(
        model, data, {name: longest}, batch_size=batch_size, seed=seed, progress=progress, folder=folder
    )
    found, clean = evaluation.outcomes[name], evaluation.clean
    num_robust = tuple(int(np.sum(clean & (found.is_robust | (found.steps > count)))) for count in steps)
    return Sweep("steps", steps, num_robust, evaluation.count("clean"), len(clean), (longest,), seed)


def rising(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """Returns values as a tuple.

    Raises:
        UsageError: there are none, or they do not rise; they are called by `name`.
    """
    if not len(values) or any(low >= high for low, high in pairwise(values)):
        raise UsageError(f"`{name}` must be one number or several rising ones. Received: {list(values)!r}.")
    return tuple(values)
