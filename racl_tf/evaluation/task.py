"""What is evaluated: a classifier, images, and what it makes of them before any attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import keras
import numpy as np
from numpy.typing import ArrayLike

from racl_tf.attacks.checks import check_images
from racl_tf.attacks.classifier import Classifier, as_classifier
from racl_tf.errors import UsageError

if TYPE_CHECKING:
    from racl_tf.data import ImageSet

    Data = ImageSet | tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True, eq=False)
class EvaluationTask:
    """A classifier and the images that it is attacked on.

    Arguments:
        classifier: as attacks see it.
        images: returns the images of given indices, float32 (M, ...) in [0, 1].
        labels: true labels, int32 (N,).
        ranked: the classes by falling clean logit, int32 (N, K).
        batch_size: number of images attacked at once.
    """

    classifier: Classifier
    images: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    ranked: np.ndarray
    batch_size: int

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return self.ranked.shape[1]

    @cached_property
    def digest(self) -> str:
        """What identifies the model: its graph and its weights (see `Classifier.digest`)."""
        return self.classifier.digest(self.images(np.zeros(1, int)))

    @property
    def predictions(self) -> np.ndarray:
        """The predicted classes of the clean images, int32 (N,)."""
        return self.ranked[:, 0]

    @property
    def correct(self) -> np.ndarray:
        """Which images are classified correctly, bool (N,)."""
        return self.predictions == self.labels


def prepare_task(model: keras.Model | Classifier, data: Data, *, batch_size: int = 128) -> EvaluationTask:
    """Returns a model and images ready to be attacked, after one pass over the clean images.

    Arguments:
        model: a Keras model from images in [0, 1] to logits, or a `Classifier`.
        data: images and true labels.
        batch_size: number of images shown and attacked at once.

    Raises:
        UsageError: for data or a model that cannot be attacked.
    """
    if batch_size < 1:
        raise UsageError(f"Received an invalid value for `batch_size`, expected at least 1. Received: {batch_size}.")
    images, labels = _access(data)
    if not len(labels):
        raise UsageError("There are no images to attack. Received: an empty data set.")
    classifier = as_classifier(model)
    classifier.check(images(np.zeros(1, int)), labels)
    batch_size = min(batch_size, len(labels))
    logits = np.concatenate(
        [classifier.logits(images(index))[:count] for index, count in filled(np.arange(len(labels)), batch_size)]
    )
    if not np.isfinite(logits).all():
        raise UsageError(
            f"The model's logits are not finite for {int((~np.isfinite(logits).all(axis=1)).sum())} of {len(logits)} "
            "clean images, so no attack on it means anything."
        )
    ranked = np.argsort(-logits, axis=1, kind="stable").astype(np.int32)
    return EvaluationTask(classifier, images, labels, ranked, batch_size)


def filled(indices: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields index arrays of one size, the last one filled up by repetition, and how many of each count."""
    for start in range(0, len(indices), size):
        chosen = indices[start : start + size]
        yield np.resize(chosen, size), len(chosen)


def _access(data: Data) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    if not isinstance(data, tuple):
        return data.images, data.y
    x, y = check_images(*data)
    return x.__getitem__, y
