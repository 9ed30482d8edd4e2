"""Where an attack led the images that fell to it, and the first of them whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from racl_tf.attacks import Classifier
from racl_tf.evaluation.attack_loop import run_attack
from racl_tf.evaluation.results import Evaluation
from racl_tf.evaluation.task import EvaluationTask, predictions, prepare_task
from racl_tf.files import write_arrays

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data


@dataclass(frozen=True, eq=False)
class AdversarialImages:
    """What an attack made of the images that are correct clean and fell to it.

    Arguments:
        attack: its name.
        index: which images these are, int32 (M,), rising.
        predicted: the classes that they were taken for, int32 (M,); -1 where the model's outputs are not finite.
        clean: the first few of them, float32 (K, H, W, C) in [0, 1].
        adversarial: the adversarial images of these, likewise.
    """

    attack: str
    index: np.ndarray
    predicted: np.ndarray
    clean: np.ndarray
    adversarial: np.ndarray

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all of it to an .npz file, atomically, with the names of the arguments."""
        write_arrays(path, {name: np.asarray(value) for name, value in vars(self).items()})


def find_adversarial_images(
    model: keras.Model | Classifier,
    data: Data,
    evaluation: Evaluation,
    *,
    kept: int = 8,
    batch_size: int = 128,
) -> AdversarialImages | None:
    """Returns the adversarial images that the strongest attack of an evaluation found; None if none fell to any.

    The strongest is the one with the fewest robust images, the first of equals. The run that an image fell in is made
    again, up to the step where it fell: an image's noise depends on the seed, its place and the run alone, so that the
    same adversarial image is found, where attacks on the device repeat themselves. One that is not found again is left
    out.

    Arguments:
        model: as it was evaluated.
        data: as it was evaluated on.
        evaluation: what became of each image.
        kept: how many images are handed on whole.
        batch_size: number of images attacked at once; the same as before spares a trace.
    """
    name = min(evaluation.outcomes, key=evaluation.count)
    outcomes = evaluation.outcomes[name]
    fallen = np.flatnonzero(evaluation.clean & outcomes.is_adversarial)
    if not len(fallen):
        return None
    task = prepare_task(model, data, batch_size=batch_size)
    found = find_again(task, evaluation, name, fallen)
    if not found:
        return None
    index = np.array(sorted(found), np.int32)
    images = np.stack([found[image] for image in index.tolist()])
    taken_for = predictions(task.classifier, images, task.batch_size)
    return AdversarialImages(name, index, taken_for, task.images(index[:kept]), images[:kept])


def find_again(task: EvaluationTask, evaluation: Evaluation, name: str, fallen: np.ndarray) -> dict[int, np.ndarray]:
    """Returns the adversarial images that the attacks of one name found, by index; those not found again are left out.

    Arguments:
        task: the classifier and the images, as they were evaluated.
        evaluation: what became of each image.
        name: of the attacks.
        fallen: indices of images that are correct clean and fell to them.
    """
    found: dict[int, np.ndarray] = {}
    first = 0
    for attack in evaluation.attacks[name]:
        end = first + attack.runs(task.classes)
        passed = evaluation.outcomes[name].passed[fallen]
        pending = [(int(i), int(run - first)) for i, run in zip(fallen, passed, strict=True) if first <= run < end]
        if pending:
            whole = [pending[i % len(pending)] for i in range(-(-len(pending) // task.batch_size) * task.batch_size)]
            for ends, _ in run_attack(task, attack, whole, seed=evaluation.seed, keep_images=True):
                found |= {end.image: end.adversarial for end in ends if end.adversarial is not None}
        first = end
    return found
