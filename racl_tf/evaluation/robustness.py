"""Robust accuracy of a model under a list of attacks."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import numpy as np
from tqdm import tqdm

from racl_tf import file_names
from racl_tf.attacks import Attack, Classifier, standard_suite
from racl_tf.distribution import WORKERS
from racl_tf.errors import UsageError
from racl_tf.evaluation.attack_loop import run_attack
from racl_tf.evaluation.progress import EvaluationProgress
from racl_tf.evaluation.results import WORST_CASE, Evaluation, Plan
from racl_tf.evaluation.task import EvaluationTask, prepare_task
from racl_tf.files import as_path

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data

_LOGGER = logging.getLogger(__name__)
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
    others count as not robust. As soon as any step of any run shows the model an image inside the ball that it
    misclassifies, an adversarial image is found and the attack on this image ends; one whose outputs are not finite
    is misclassified, and how many there are is logged. Several attacks under one name
    (as `autoattack` returns) are an ensemble: each is made on what is robust to those before it.

    An image's noise depends on `seed` and its place in `data` alone, so the batch size changes nothing but the speed.
    Several processes (`racl_tf.distribution`) attack different images, and all return the outcomes of all.

    Arguments:
        model: a Keras model from images in [0, 1] to logits, or a `Classifier`, which takes other ranges,
            probabilities and SavedModels.
        data: images and true labels: a pair, an `ImageSet`, or a `tf.data.Dataset` of pairs.
        attacks: by name, or several by one name; `standard_suite(8 / 255, 2 / 255)` by default.
        batch_size: number of images attacked at once.
        seed: of the attacks' noise.
        progress: whether to show a bar with the time left and the running robust accuracy; without, what is kept in a
            folder is logged, a line for each attack.
        folder: where the outcome of every image is kept, in `outcomes.npz`: an evaluation that was
            interrupted goes on there without repeating what it has done.

    Raises:
        UsageError: for data or a model that cannot be attacked, a targeted attack, an attack named "clean"
            or "worst_case", or a folder that was begun with another model, other images, attacks or seed.
    """
    attacks = standard_suite(8 / 255, 2 / 255) if attacks is None else attacks
    if not isinstance(attacks, Mapping):
        raise UsageError(f"Attacks are given by name, such as {{'pgd20': attack}}. Received: {type(attacks).__name__}.")
    plans = {name: attack if isinstance(attack, tuple) else (attack,) for name, attack in attacks.items()}
    _check_attacks(plans)
    task = prepare_task(model, data, batch_size=batch_size)
    # On another machine another class may lead by rounding: what is attacked is what the chief says.
    task = replace(task, ranked=WORKERS.sum(task.ranked * WORKERS.is_chief).astype(np.int32))
    for attack in itertools.chain(*plans.values()):
        attack.check_classes(task.classes)
    state = EvaluationProgress(
        task, plans, seed=seed, path=None if folder is None else as_path(folder) / file_names.OUTCOMES
    )
    try:
        for name in plans:
            _attack(task, state, name, progress=progress, say=not progress and folder is not None)
    finally:
        state.save()
    return state.finish()


def _attack(task: EvaluationTask, state: EvaluationProgress, name: str, *, progress: bool, say: bool) -> None:
    """Makes what is left to do of the attacks of one name, and records and now and then saves the outcomes.

    Arguments:
        task: the classifier and its images.
        state: where outcomes are recorded; what is recorded there already is not repeated.
        name: of the attacks.
        progress: whether to show a bar.
        say: whether a line stands for the bar.
    """
    plan, saved = state.attacks[name], time.monotonic()
    runs = [attack.runs(task.classes) for attack in plan]
    costs = np.repeat([attack.steps + 1 for attack in plan], runs)
    left = np.append(np.cumsum(costs[::-1])[::-1], 0)  # steps still to make at most, by runs passed

    def to_do() -> int:
        return int(left[state.passed(name)[state.is_robust(name)]].sum())

    begun, total, no_outputs = time.monotonic(), to_do(), 0
    with tqdm(total=total, desc=name, unit="step", unit_scale=True, disable=not progress) as bar:
        for attack, (first, end) in zip(plan, itertools.pairwise(np.cumsum([0, *runs])), strict=True):
            passed = state.passed(name)
            rows, before = np.flatnonzero(state.is_robust(name) & (passed < end)), state.copy(name)
            rows = rows[WORKERS.index :: WORKERS.count]
            pending = zip(rows.tolist(), (passed[rows] - first).tolist(), strict=True)
            for outcomes, moving in run_attack(task, attack, pending, seed=state.seed):
                for outcome in outcomes:
                    state.record(name, outcome)
                    no_outputs += not outcome.finite
                bar.set_postfix(robust=f"{state.is_robust(name).mean():.2%}", refresh=False)
                bar.update(total - to_do() + moving - bar.n)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    state.save()
                    saved = time.monotonic()
            state.combine(name, before)
    if no_outputs:
        _LOGGER.warning(
            "%s: %d images fell because the model's outputs for them are not finite (NaN or infinite). They count as "
            "misclassified; a model that gives finite outputs to all images in [0, 1] may do better.",
            name,
            no_outputs,
        )
    if total and say:
        seconds = time.monotonic() - begun
        _LOGGER.info("%s: %.2f%% robust (%.0f s)", name, 100 * state.is_robust(name).mean(), seconds)


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
