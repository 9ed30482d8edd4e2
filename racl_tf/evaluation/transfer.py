"""Attacks by transfer: images crafted on one model and shown to others (Tables 2 and 3 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from racl_tf.attacks import Attack, Classifier
from racl_tf.attacks.losses import predicted
from racl_tf.errors import UsageError, unknown
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.evaluation.results import balls
from racl_tf.evaluation.task import EvaluationTask, as_images, prepare_task
from racl_tf.result import TableResult
from racl_tf.tables import TextTable, markdown_table

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data

    Models = Mapping[str, keras.Model | Classifier]

CLEAN = "clean"


@dataclass(frozen=True)
class Transfer(TableResult):
    """How many images each target classifies correctly, clean and after an attack on each source.

    An image that a target misclassifies clean is never robust. A source and a target of one name are
    one model, and their figure is that of the white-box attack.

    Arguments:
        num_robust: number of images classified correctly, by source and target; the source "clean" is no attack at all.
        images: number of all images.
        attack: by which the images were crafted.
        seed: of the attack's noise.
    """

    num_robust: Mapping[str, Mapping[str, int]]
    images: int
    attack: Attack
    seed: int

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets."""
        return tuple(self.num_robust[CLEAN])

    def count(self, source: str, target: str) -> int:
        """Returns the number of images that `target` classifies correctly clean and as crafted on `source`."""
        if source not in self.num_robust:
            raise unknown("source", source, self.num_robust)
        if target not in self.targets:
            raise unknown("target", target, self.targets)
        return self.num_robust[source][target]

    def accuracy(self, source: str, target: str) -> float:
        """Returns the share of all images classified correctly; of the source "clean", the target's clean accuracy."""
        return self.count(source, target) / self.images

    def interval(self, source: str, target: str) -> tuple[float, float]:
        """Returns the 95% Wilson interval of `accuracy(source, target)`."""
        return wilson_interval(self.count(source, target), self.images)

    def rows(self) -> list[dict[str, Any]]:
        """Returns for each source and target the number of robust images, their share and its interval."""
        rows = []
        for source, counts in self.num_robust.items():
            for target, count in counts.items():
                low, high = self.interval(source, target)
                row = {"source": source, "target": target, "standing": count, "images": self.images}
                rows.append(row | {"accuracy": self.accuracy(source, target), "low": low, "high": high})
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures with what they were measured by, ready for JSON."""
        return {"images": self.images, "seed": self.seed, "attack": self.attack.to_dict(), "rows": self.rows()}

    def markdown(self) -> str:
        """Returns the accuracies in percent as a Markdown table, a row for each source."""
        return markdown_table(self._heading, self._cells()) + "\n"

    def table(self) -> TextTable:
        """Returns the accuracies in percent as a table, a row for each source."""
        title = f"accuracy % of {self.images} images, {self.attack.title}, {balls([self.attack])[0]}, seed {self.seed}"
        return TextTable(title, self._heading, tuple(self._cells()), left=self._heading[:1])

    def __str__(self) -> str:
        return str(self.table())

    @property
    def _heading(self) -> tuple[str, ...]:
        return "source \\ target", *self.targets

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (source, *(f"{100 * self.accuracy(source, target):.2f}" for target in self.targets))
            for source in self.num_robust
        ]


def transfer(
    sources: Models,
    targets: Models,
    data: Data,
    attack: Attack,
    *,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> Transfer:
    """Returns how images crafted on each source do on each target (Section 3.3).

    Every image is attacked with all steps, whether the source misclassifies it before or not. It is crafted once
    for each source and shown to all targets. Its noise depends on `seed` and its place in `data` alone.

    Arguments:
        sources: the models attacked, by name: Keras models from images in [0, 1] to logits, or `Classifier`s.
        targets: the models shown the result, by name; a name that is also a source's means the same model.
        data: images and true labels.
        attack: not targeted.
        batch_size: number of images attacked at once.
        seed: of the attack's noise.
        progress: whether to show a bar with the time left.

    Raises:
        UsageError: for models that do not fit the data or each other, data or models that cannot be attacked,
            a targeted attack, or one name for two models.

    >>> from racl_tf.attacks import fgsm
    >>> model = keras.Sequential([keras.layers.Dense(2, kernel_initializer="identity")])
    >>> data = np.array([[0.6, 0.5], [0.9, 0.5]]), np.array([0, 0])
    >>> transfer({"a": model}, {"a": model}, data, fgsm(0.1), progress=False).accuracy("a", "a")
    0.5
    """
    if attack.targeted:
        raise UsageError("The attack is targeted, but robustness is about leaving the true class. Use targeted=False.")
    tasks = _prepare_tasks(sources, targets, data, batch_size)
    clean = {name: tasks[name].correct for name in targets}
    num_robust = {source: {target: 0 for target in targets} for source in sources}
    labels = next(iter(tasks.values())).labels
    with tqdm(total=len(labels) * len(sources), desc="transfer", unit="image", disable=not progress) as bar:
        for source in sources:
            for index in np.split(np.arange(len(labels)), range(batch_size, len(labels), batch_size)):
                crafted = _craft(tasks[source], attack, index, seed)
                for target in targets:
                    classes = predicted(tasks[target].classifier.logits(crafted)).numpy()
                    num_robust[source][target] += int(np.sum(clean[target][index] & (classes == labels[index])))
                bar.update(len(index))
    num_clean = {CLEAN: {name: int(correct.sum()) for name, correct in clean.items()}}
    return Transfer(num_clean | num_robust, len(labels), attack, seed)


def _craft(task: EvaluationTask, attack: Attack, index: np.ndarray, seed: int) -> np.ndarray:
    return attack(task.classifier, task.images(index), task.labels[index], seed=seed, index=index)


def _prepare_tasks(sources: Models, targets: Models, data: Data, batch_size: int) -> dict[str, EvaluationTask]:
    """Returns every model with the data by name, after checking that they belong together."""
    if not sources or not targets:
        raise UsageError(f"Transfer needs a source and a target. Received: {len(sources)} and {len(targets)}.")
    if CLEAN in sources:
        raise UsageError(f"A source cannot be named {CLEAN!r}, which names another row of the results.")
    for name in sources.keys() & targets.keys():
        if sources[name] is not targets[name]:
            raise UsageError(f"{name!r} names two models, one source and one target. Give each its own name.")
    models = {**sources, **targets}
    data = as_images(data)
    shape = np.shape(data[0])[1:] if isinstance(data, tuple) else data.shape
    for name, model in models.items():
        declared = getattr(model, "input_shape", None)
        if isinstance(declared, tuple) and not _fits(declared[1:], shape):
            raise UsageError(f"The model {name!r} takes images of shape {declared[1:]}, but the data's are {shape}.")
    tasks = {}
    for name, model in models.items():
        try:
            tasks[name] = prepare_task(model, data, batch_size=batch_size)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise UsageError(f"The model {name!r} cannot be shown the data: {error}") from error
    classes = {name: task.classes for name, task in tasks.items()}
    if len(set(classes.values())) > 1:
        counts = ", ".join(f"{name!r} {count}" for name, count in classes.items())
        raise UsageError(f"All models must have the same number of classes. Received: {counts}.")
    return tasks


def _fits(declared: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(declared) == len(shape) and all(axis in (None, size) for axis, size in zip(declared, shape, strict=True))
