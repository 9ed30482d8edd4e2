"""What is evaluated: a classifier, images, and what it makes of them before any attack."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from racl_tf.attacks.checks import check_images
from racl_tf.attacks.classifier import Classifier, as_classifier
from racl_tf.attacks.losses import predicted
from racl_tf.errors import UsageError
from racl_tf.evaluation.chance import chance_warning

_LOGGER = logging.getLogger(__name__)

if TYPE_CHECKING:
    from racl_tf.data import ImageSet

    Data: TypeAlias = ImageSet | tuple[ArrayLike, ArrayLike] | tf.data.Dataset


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
        data: images and true labels, as `as_images` takes them.
        batch_size: number of images shown and attacked at once.

    Raises:
        UsageError: for data or a model that cannot be attacked.
    """
    if batch_size < 1:
        raise UsageError(f"Received an invalid value for `batch_size`, expected at least 1. Received: {batch_size}.")
    images, labels = _access(as_images(data))
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
    if found := chance_warning(labels, ranked[:, 0], ranked.shape[1]):
        _say_once(classifier, found)
    return EvaluationTask(classifier, images, labels, ranked, batch_size)


def _say_once(classifier: Classifier, found: str) -> None:
    if not classifier.said:
        classifier.said.add(found)
        low, high = classifier.bounds
        _LOGGER.warning(
            "%s No figure of such a model means anything. It was shown images from %g to %g: if it takes others, give "
            "its bounds, such as --bounds=0,255 (in Python Classifier(model, bounds=(0, 255))). Else its classes are "
            "others or in another order, or it has not learnt anything.",
            found,
            low,
            high,
        )


def filled(indices: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields index arrays of one size, the last one filled up by repetition, and how many of each count."""
    for start in range(0, len(indices), size):
        chosen = indices[start : start + size]
        yield np.resize(chosen, size), len(chosen)


def predictions(classifier: Classifier, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Returns the predicted classes of images (N, ...), int32 (N,), -1 where the model's outputs are not finite.

    Every forward pass takes as many images, so that a recount rounds as the first count did.
    """
    classes = np.zeros(len(images), np.int32)
    for rows, count in filled(np.arange(len(images)), batch_size):
        classes[rows[:count]] = predicted(classifier.logits(images[rows])[:count]).numpy()
    return classes


def as_images(data: Data) -> ImageSet | tuple[ArrayLike, ArrayLike]:
    """Returns images and labels in memory: an `ImageSet` as it is, others as a pair.

    Arguments:
        data: an `ImageSet`, a pair of images and labels, or a `tf.data.Dataset` that gives such pairs, in batches or
            one by one.

    Raises:
        UsageError: for anything else.
    """
    if isinstance(data, tf.data.Dataset):
        spec = data.element_spec
        if isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, tf.TensorSpec) for part in spec):
            batches = list((data if spec[1].shape.rank else data.batch(256)).as_numpy_iterator())
            if not batches:
                raise UsageError("There are no images to attack. Received: an empty tf.data.Dataset.")
            return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))  # type: ignore[return-value]
    elif isinstance(data, tuple | list):
        if len(data) == 2:
            return tuple(data)  # type: ignore[return-value]
    elif hasattr(data, "images") and hasattr(data, "y"):
        return data
    parts = [name for name in ("train", "test") if hasattr(data, name)]
    received = f"{len(data)} of them" if isinstance(data, tuple | list) else type(data).__name__
    advice = f" Take a part of it: {' or '.join(f'.{name}' for name in parts)}." if parts else ""
    raise UsageError(
        "What is attacked is a pair of images and labels, an ImageSet or a tf.data.Dataset of such pairs. "
        f"Received: {received}.{advice}"
    )


def _access(data: ImageSet | tuple[ArrayLike, ArrayLike]) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    if not isinstance(data, tuple):
        return data.images, data.y
    x, y = check_images(*data)
    return x.__getitem__, y
