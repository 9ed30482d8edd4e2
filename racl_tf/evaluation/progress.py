"""An evaluation under way: what has become of each image so far, kept in a file from which it goes on."""

from __future__ import annotations

import json
import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from racl_tf.distribution import WORKERS
from racl_tf.errors import UsageError
from racl_tf.evaluation.attack_loop import NOT_FOUND, Outcome
from racl_tf.evaluation.results import AttackOutcomes, Evaluation, Plan
from racl_tf.evaluation.task import EvaluationTask
from racl_tf.files import damaged, read_arrays, write_arrays


class EvaluationProgress:
    """What has become of each image so far, filled in run by run until it is an `Evaluation`.

    Arguments:
        task: the classifier and its images.
        attacks: by name; several by one name are an ensemble.
        seed: of the attacks' noise.
        path: of the file, outcomes.npz, that outcomes are kept in; what it holds is taken over. None: they are not.

    Raises:
        UsageError: the file was begun with another model, other images, attacks or seed, or holds no outcomes.
    """

    def __init__(
        self, task: EvaluationTask, attacks: Mapping[str, Plan], *, seed: int = 0, path: pathlib.Path | None = None
    ) -> None:
        count = len(task.labels)
        self.attacks = dict(attacks)
        self.seed = seed
        self._task = task
        self._path = path
        self._outcomes = {
            name: AttackOutcomes(np.zeros(count, np.int32), np.full(count, NOT_FOUND, np.int32)) for name in attacks
        }
        if path is not None:
            self._restore(path)
        found = np.stack([array for outcomes in self._outcomes.values() for array in outcomes] or [np.zeros(0)])
        WORKERS.check_same(found, f"outcomes in {str(path)!r}")

    def passed(self, name: str) -> np.ndarray:
        """Returns for each image how many runs of the attacks of one name it has withstood so far, int32 (N,)."""
        return self._outcomes[name].passed

    def is_robust(self, name: str) -> np.ndarray:
        """Returns which images are correct clean and no attack of one name has made adversarial so far, bool (N,)."""
        return self._task.correct & self._outcomes[name].is_robust

    def record(self, name: str, outcome: Outcome) -> None:
        """Notes how one run of an attack of one name on one image ended."""
        passed, steps = self._outcomes[name]
        steps[outcome.image] = outcome.steps
        passed[outcome.image] += outcome.steps == NOT_FOUND

    def combine(self, name: str, before: AttackOutcomes) -> None:
        """Adds what the other processes of the run have noted of an attack, each of images of its own.

        Arguments:
            name: of the attack.
            before: copies of what all processes had noted of it when they began.
        """
        for now, then in zip(self._outcomes[name], before, strict=True):
            now[:] = then + WORKERS.sum(now - then)

    def copy(self, name: str) -> AttackOutcomes:
        """Returns what has been noted of an attack so far."""
        return AttackOutcomes(*map(np.copy, self._outcomes[name]))

    def save(self) -> None:
        """Writes the outcome of every image to the file, atomically; nothing if there is none."""
        if self._path is not None and WORKERS.is_chief:
            arrays = {**self._images, "model": np.array(self._task.digest)}
            for name, outcomes in self._outcomes.items():
                arrays |= outcomes.to_arrays(name)
            write_arrays(self._path, arrays | {"settings": self._settings})

    def finish(self) -> Evaluation:
        """Returns the evaluation, which does not change with what is recorded here later."""
        outcomes = {name: self.copy(name) for name in self._outcomes}
        task = self._task
        return Evaluation(task.labels, task.predictions, task.classes, outcomes, self.attacks, self.seed)

    @property
    def _images(self) -> dict[str, np.ndarray]:
        return {"labels": self._task.labels, "predictions": self._task.predictions}

    @property
    def _settings(self) -> np.ndarray:
        attacks = {name: [attack.to_dict() for attack in plan] for name, plan in self.attacks.items()}
        return np.array(json.dumps({"seed": self.seed, "attacks": attacks}, sort_keys=True))

    def _restore(self, path: pathlib.Path) -> None:
        arrays = read_arrays(path)
        if not arrays:
            return
        same = _complete(arrays.get("settings", "")) == _complete(self._settings)
        if same and {"labels", "predictions"} <= arrays.keys():
            same_images = all(np.array_equal(arrays[name], values) for name, values in self._images.items())
        elif same:
            raise damaged(path, "arrays are missing")
        if not same or not same_images:
            what = "another model or other images" if same else "other attacks, another seed or another version"
            raise UsageError(
                f"The evaluation in {os.fspath(path.parent)!r} was begun with {what}. Choose another folder."
            )
        if "model" not in arrays:
            warnings.warn(
                f"The evaluation in {os.fspath(path.parent)!r} is of an earlier version, which did not note its model: "
                "a network of other weights may have been there. It is made again.",
                stacklevel=4,
            )
            return
        if str(arrays["model"]) != self._task.digest:
            raise UsageError(
                f"The evaluation in {os.fspath(path.parent)!r} was begun with another model: its graph or its weights "
                "differ, though the clean predictions do not. Choose another folder, or remove this one."
            )
        for name, plan in self.attacks.items():
            runs = sum(attack.runs(self._task.classes) for attack in plan)
            most = max(attack.steps for attack in plan)
            for now, field, (low, high) in zip(
                self._outcomes[name], AttackOutcomes._fields, ((0, runs), (NOT_FOUND, most)), strict=True
            ):
                before = arrays.get(f"{name}/{field}", np.zeros(0))
                if before.shape != now.shape or before.dtype != now.dtype or before.min() < low or before.max() > high:
                    raise damaged(path, f"it holds no outcomes of {name}")
                now[:] = before


#: Fields of attacks that outcomes of earlier versions do not hold, by the kind of attack, and what they were.
_ADDED: Mapping[str, Mapping[str, Any]] = {"GradientAttack": {"eot": 1}}


def _complete(settings: object) -> Any:
    """Returns the settings of outcomes.npz with the fields that came later; the text itself if it holds none."""
    try:
        found = json.loads(str(settings))
        plans = {
            name: [{**_ADDED.get(row["kind"], {}), **row} for row in plan] for name, plan in found["attacks"].items()
        }
        return {**found, "attacks": plans}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return str(settings)
