"""Robust accuracy of a model under a list of attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from racl_tf.attacks import Attack, standard_suite
from racl_tf.attacks.checks import check_images, check_model
from racl_tf.attacks.compiled import compiled
from racl_tf.errors import UsageError
from racl_tf.evaluation.result import WORST_CASE, Evaluation

if TYPE_CHECKING:
    from racl_tf.data import ImageSet


def evaluate(
    model: keras.Model,
    data: ImageSet | tuple[ArrayLike, ArrayLike],
    attacks: Mapping[str, Attack] | None = None,
    *,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Returns which images a model classifies correctly, clean and under each attack.

    Every attack runs on all images that are correct clean, so that each has its own honest
    figure; the others count as fallen. An image's noise depends on `seed` and its place in
    `data` alone, so the batch size changes nothing but the speed.

    Arguments:
        model: a Keras model from images to logits.
        data: images and true labels.
        attacks: by name; `standard_suite(8 / 255, 2 / 255)` by default.
        batch_size: number of images attacked at once; the last batch is filled up.
        seed: of the attacks' noise.
        progress: whether to show a bar with the time left and the running robust accuracy.

    Raises:
        UsageError: for data or a model that cannot be attacked, a targeted attack, or an
            attack named "clean" or "worst_case".
    """
    attacks = dict(standard_suite(8 / 255, 2 / 255) if attacks is None else attacks)
    _check_attacks(attacks)
    if batch_size < 1:
        raise UsageError(f"Received an invalid value for `batch_size`, expected at least 1. Received: {batch_size}.")
    images, labels = _access(data)
    batch_size = min(batch_size, len(labels))
    logits_of = compiled(model).logits
    check_model(logits_of, images(np.zeros(1, int)), labels)

    def is_correct(inputs: np.ndarray, index: np.ndarray) -> np.ndarray:
        return logits_of(inputs).numpy().argmax(axis=1) == labels[index]

    clean = np.zeros(len(labels), bool)
    for index, count in _batches(np.arange(len(labels)), batch_size):
        clean[index[:count]] = is_correct(images(index), index)[:count]

    def standing(name: str, attack: Attack) -> np.ndarray:
        robust, attacked = np.zeros_like(clean), 0
        with tqdm(total=int(clean.sum()), desc=name, unit="image", disable=not progress) as bar:
            for index, count in _batches(np.flatnonzero(clean), batch_size):
                adversarial = attack(model, images(index), labels[index], seed=seed, index=index)
                robust[index[:count]] = is_correct(adversarial, index)[:count]
                attacked += count
                bar.set_postfix(robust=f"{clean.mean() * robust.sum() / attacked:.2%}", refresh=False)
                bar.update(count)
        return robust

    correct = {"clean": clean} | {name: standing(name, attack) for name, attack in attacks.items()}
    return Evaluation(correct, attacks, seed)


def _batches(indices: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields index arrays of one size, the last one filled up by repetition, and how many of each count."""
    for start in range(0, len(indices), size):
        chosen = indices[start : start + size]
        yield np.resize(chosen, size), len(chosen)


def _access(data: ImageSet | tuple[ArrayLike, ArrayLike]) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    if not isinstance(data, tuple):
        return data.images, data.y
    x, y = check_images(*data)
    return x.__getitem__, y


def _check_attacks(attacks: Mapping[str, Attack]) -> None:
    for name, attack in attacks.items():
        if name in ("clean", WORST_CASE):
            raise UsageError(f"An attack cannot be named {name!r}, which names another row of the results.")
        if attack.targeted:
            raise UsageError(
                f"The attack {name!r} is targeted, but robust accuracy is about leaving the true class. "
                "Use targeted=False, or call the attack itself with the targets as labels."
            )
