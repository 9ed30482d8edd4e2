"""Robust accuracy of a model under a list of attacks."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np
from tqdm import tqdm

from racl_tf.attacks import Attack, Classifier, standard_suite
from racl_tf.errors import UsageError
from racl_tf.evaluation.attack_loop import NOT_FOUND, run_attack
from racl_tf.evaluation.results import WORST_CASE, AttackOutcomes, Evaluation, Plan
from racl_tf.evaluation.task import EvaluationTask, classify
from racl_tf.files import read_arrays, write_arrays

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data

_SAVE_SECONDS = 30.0


def evaluate(
    model: keras.Model | Classifier,
    data: Data,
    attacks: Mapping[str, Attack | Plan] | None = None,
    *,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    folder: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Returns which images a model classifies correctly, clean and under each attack.

    Every attack is made on all images that are correct clean, so that each has its own honest figure; the
    others count as fallen. An image falls as soon as any step of any run shows the model an image inside the
    ball that it misclassifies, and is left alone from there on. Several attacks under one name (as
    `autoattack` returns) are an ensemble: each is made on what still stands of those before it.

    An image's noise depends on `seed` and its place in `data` alone, so the batch size changes nothing but the speed.

    Arguments:
        model: a Keras model from images in [0, 1] to logits, or a `Classifier`, which takes other ranges,
            probabilities and SavedModels.
        data: images and true labels.
        attacks: by name, or several by one name; `standard_suite(8 / 255, 2 / 255)` by default.
        batch_size: number of images attacked at once.
        seed: of the attacks' noise.
        progress: whether to show a bar with the time left and the running robust accuracy.
        folder: where the outcome of every image is kept, in `outcomes.npz`: an evaluation that was
            interrupted goes on there without repeating what it has done.

    Raises:
        UsageError: for data or a model that cannot be attacked, a targeted attack, an attack named "clean"
            or "worst_case", or a folder that was begun with another model, other images, attacks or seed.
    """
    plans = {
        name: attack if isinstance(attack, tuple) else (attack,)
        for name, attack in (standard_suite(8 / 255, 2 / 255) if attacks is None else attacks).items()
    }
    _check_attacks(plans)
    subjects = classify(model, data, batch_size=batch_size)
    for attack in itertools.chain(*plans.values()):
        attack.check_classes(subjects.classes)
    count = len(subjects.labels)
    fates = {name: AttackOutcomes(np.zeros(count, np.int32), np.full(count, NOT_FOUND, np.int32)) for name in plans}
    evaluation = Evaluation(subjects.labels, subjects.predictions, subjects.classes, fates, plans, seed)
    path = None if folder is None else pathlib.Path(folder) / "outcomes.npz"
    if path is not None:
        _restore(evaluation, path)
    try:
        for name in plans:
            attack_all(subjects, evaluation, name, progress=progress, save=lambda: save_outcomes(evaluation, path))
    finally:
        save_outcomes(evaluation, path)
    return evaluation


def attack_all(
    subjects: EvaluationTask, evaluation: Evaluation, name: str, *, progress: bool, save: Callable[[], None]
) -> None:
    """Attacks by the attacks of one name what still stands under them, and notes each image's fate.

    Arguments:
        subjects: the classifier and its images.
        evaluation: where fates are noted; what is noted there already is not repeated.
        name: of the attacks.
        progress: whether to show a bar.
        save: called now and then.
    """
    plan, fates, saved = evaluation.attacks[name], evaluation.fates[name], time.monotonic()
    runs = [attack.runs(subjects.classes) for attack in plan]
    costs = np.repeat([attack.steps + 1 for attack in plan], runs)
    left = np.append(np.cumsum(costs[::-1])[::-1], 0)  # steps still to make at most, by runs passed

    def to_do() -> int:
        return int(left[fates.passed[evaluation.clean & fates.stands]].sum())

    with tqdm(total=(total := to_do()), desc=name, unit="step", unit_scale=True, disable=not progress) as bar:
        for attack, (first, end) in zip(plan, itertools.pairwise(np.cumsum([0, *runs])), strict=True):
            rows = np.flatnonzero(evaluation.clean & fates.stands & (fates.passed < end))
            pending = zip(rows.tolist(), (fates.passed[rows] - first).tolist(), strict=True)
            for outcomes, moving in run_attack(subjects, attack, pending, seed=evaluation.seed):
                for outcome in outcomes:
                    fates.steps[outcome.image] = outcome.steps
                    fates.passed[outcome.image] += outcome.steps == NOT_FOUND
                bar.set_postfix(robust=f"{evaluation.accuracy(name):.2%}", refresh=False)
                bar.update(total - to_do() + moving - bar.n)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    save()
                    saved = time.monotonic()


def save_outcomes(evaluation: Evaluation, path: pathlib.Path | None) -> None:
    """Writes the outcome of every image to an .npz file, atomically; nothing if there is no path."""
    if path is not None:
        write_arrays(path, evaluation.arrays() | {"settings": np.array(_settings(evaluation))})


def _restore(evaluation: Evaluation, path: pathlib.Path) -> None:
    """Fills in the outcomes that a file holds."""
    arrays = read_arrays(path)
    if not arrays:
        return
    same = str(arrays.pop("settings", "")) == _settings(evaluation)
    if not same or any(
        not np.array_equal(arrays[name], getattr(evaluation, name)) for name in ("labels", "predictions")
    ):
        what = "another model or other images" if same else "other attacks, another seed or another version"
        raise UsageError(f"The evaluation in {os.fspath(path.parent)!r} was begun with {what}. Choose another folder.")
    for name, fates in evaluation.fates.items():
        fates.passed[:], fates.steps[:] = arrays[f"{name}/passed"], arrays[f"{name}/steps"]


def _settings(evaluation: Evaluation) -> str:
    plans = {name: [attack.to_dict() for attack in plan] for name, plan in evaluation.attacks.items()}
    return json.dumps({"seed": evaluation.seed, "attacks": plans}, sort_keys=True)


def _check_attacks(plans: Mapping[str, Plan]) -> None:
    for name, plan in plans.items():
        if name in ("clean", WORST_CASE):
            raise UsageError(f"An attack cannot be named {name!r}, which names another row of the results.")
        if not plan or not all(isinstance(attack, Attack) for attack in plan):
            raise UsageError(f"{name!r} must be an attack or a tuple of attacks. Received: {plan!r}.")
        if any(attack.targeted for attack in plan):
            raise UsageError(
                f"The attack {name!r} is targeted, but robust accuracy is about leaving the true class. "
                "Use targeted=False, or call the attack itself with the targets as labels."
            )
