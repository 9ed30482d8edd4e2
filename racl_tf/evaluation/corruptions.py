"""Errors under common corruptions, on images in the format of CIFAR-10-C."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import keras
import numpy as np
from tqdm import tqdm

from racl_tf.attacks import Classifier
from racl_tf.attacks.classifier import as_classifier
from racl_tf.attacks.losses import predicted
from racl_tf.data.image_set import PIXEL_SCALE
from racl_tf.errors import UsageError
from racl_tf.evaluation.task import filled
from racl_tf.files import as_path, read_json
from racl_tf.result import TableResult
from racl_tf.tables import TextTable

SEVERITIES = 5
"""How many severities each corruption has, the weakest first."""

EXTRA = ("gaussian_blur", "saturate", "spatter", "speckle_noise")
"""The corruptions that Hendrycks and Dietterich hold back for validation, which no mean over corruptions counts."""

_LABELS = "labels"
_SUFFIX = ".npy"


class CorruptedImages(NamedTuple):
    """Images of every corruption, which stay in their files.

    Arguments:
        images: by the name of the corruption, uint8 (5 N, H, W, C): those of the first severity, of the second, ...
        labels: of all of them, int32 (5 N,).
    """

    images: Mapping[str, np.ndarray]
    labels: np.ndarray


@dataclass(frozen=True)
class CorruptionErrors(TableResult):
    """How many images a classifier classifies correctly under each corruption, by severity.

    With E(c, s) the error under corruption c of severity s, the share of images that are misclassified, the mean error
    is the mean over corruptions of sum over s of E(c, s) / 5. With a baseline's errors B, the mean corruption error is
    that of sum over s of E(c, s) / sum over s of B(c, s) (Hendrycks and Dietterich, 2019, arXiv 1903.12261, Section 4).
    Neither mean counts corruptions in `EXTRA`, unless there are no others.

    Arguments:
        correct: by corruption the number of images classified correctly, one for each of 5 severities.
        images: of each corruption and severity.
        baseline: the errors of another classifier in [0, 1] likewise; None if not given.
    """

    correct: Mapping[str, tuple[int, ...]]
    images: int
    baseline: Mapping[str, tuple[float, ...]] | None = None

    @property
    def counted(self) -> tuple[str, ...]:
        """The corruptions that means are over."""
        return tuple(name for name in self.correct if name not in EXTRA) or tuple(self.correct)

    def errors(self, name: str) -> tuple[float, ...]:
        """Returns the share of images that are misclassified under a corruption, by severity."""
        return tuple(1 - count / self.images for count in self.correct[name])

    @property
    def mean_error(self) -> float:
        """The mean over corruptions of the mean error over severities, in [0, 1]."""
        return float(np.mean([np.mean(self.errors(name)) for name in self.counted]))

    @property
    def mean_corruption_error(self) -> float | None:
        """The mean over corruptions of the error relative to the baseline's, 1 if they are alike; None without one."""
        if self.baseline is None:
            return None
        return float(np.mean([sum(self.errors(name)) / sum(self.baseline[name]) for name in self.counted]))

    def rows(self) -> list[dict[str, Any]]:
        """Returns for each corruption and severity the number of images classified correctly and their share."""
        return [
            {"corruption": name, "severity": severity, "correct": count, "images": self.images}
            | {"accuracy": count / self.images}
            for name, counts in self.correct.items()
            for severity, count in enumerate(counts, 1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures, ready for JSON."""
        return {
            "images": self.images,
            "rows": self.rows(),
            "baseline": None if self.baseline is None else {name: list(row) for name, row in self.baseline.items()},
            "mean_over": list(self.counted),
            "mean_error": self.mean_error,
            "mean_corruption_error": self.mean_corruption_error,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Returns the errors of which `to_dict` made a record."""
        baseline, correct = record["baseline"], dict[str, list[int]]()
        for row in record["rows"]:
            correct.setdefault(row["corruption"], []).append(int(row["correct"]))
        return cls(
            {name: tuple(counts) for name, counts in correct.items()},
            int(record["images"]),
            None if baseline is None else {name: tuple(map(float, row)) for name, row in baseline.items()},
        )

    def table(self) -> TextTable:
        """Returns accuracies in percent as a table, a row for each corruption, with the means below."""
        rows = []
        for name, counts in self.correct.items():
            shares = [count / self.images for count in counts]
            rows.append((name, *(f"{100 * share:.2f}" for share in (*shares, float(np.mean(shares))))))
        means = f"mean error over {len(self.counted)} corruptions: {100 * self.mean_error:.2f} %"
        if self.mean_corruption_error is not None:
            means += f"; relative to the baseline (mCE): {100 * self.mean_corruption_error:.2f} %"
        severities = (f"severity {severity}" for severity in range(1, SEVERITIES + 1))
        title = f"accuracy % under corruptions, {self.images} images of each severity"
        return TextTable(title, ("corruption", *severities, "mean"), tuple(rows), left=("corruption",), caption=means)

    def __str__(self) -> str:
        return str(self.table())


def read_corruptions(folder: str | os.PathLike[str]) -> CorruptedImages:
    """Returns the images in a folder like CIFAR-10-C: NAME.npy for each corruption and labels.npy.

    Arguments:
        folder: each NAME.npy holds uint8 (5 N, H, W, C), N images of severity 1, the same of severity 2, and so on;
            labels.npy holds integers (5 N,).

    Raises:
        UsageError: a file is missing, or is none of plain numbers of these types and shapes.
    """
    folder = as_path(folder)
    paths = {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))} if folder.is_dir() else {}
    labels_path = paths.pop(_LABELS, None)
    if labels_path is None or not paths:
        raise UsageError(
            f"{os.fspath(folder)!r} does not hold corrupted images: give a folder with {_LABELS}{_SUFFIX} and, for "
            f"each corruption, NAME{_SUFFIX}, as CIFAR-10-C has them."
        )
    labels = _load(labels_path)
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1 or not len(labels) or len(labels) % SEVERITIES:
        raise UsageError(
            f"{os.fspath(labels_path)!r} must hold integers of shape ({SEVERITIES} N,). Received: {labels.dtype} of "
            f"shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise UsageError(
            f"{os.fspath(labels_path)!r} must hold labels from 0. Received: {labels.min()} to {labels.max()}."
        )
    images = {name: _load(path) for name, path in paths.items()}
    shape = next(iter(images.values())).shape[1:]
    for name, found in images.items():
        if found.dtype != np.uint8 or found.ndim != 4 or len(found) != len(labels) or found.shape[1:] != shape:
            raise UsageError(
                f"{os.fspath(paths[name])!r} must hold uint8 of shape ({len(labels)}, height, width, channels), as "
                f"many as there are labels and of one size. Received: {found.dtype} of shape {found.shape}."
            )
    return CorruptedImages(images, np.asarray(labels).astype(np.int32))


def read_baseline(path: str | os.PathLike[str], corrupted: CorruptedImages) -> dict[str, tuple[float, ...]]:
    """Returns the errors of a baseline by corruption, from a JSON file of 5 numbers in [0, 1] for each.

    Raises:
        UsageError: the file does not hold them, or not those of every corruption that there are images of.
    """
    if not as_path(path).is_file():
        raise UsageError(f"There is no file {os.fspath(path)!r} of a baseline's errors.")
    record = read_json(path)
    missing = [name for name in corrupted.images if not isinstance(record, dict) or name not in record]
    if missing:
        raise UsageError(f"{os.fspath(path)!r} holds no errors of {', '.join(missing)}. Give {SEVERITIES} for each.")
    errors = {name: record[name] for name in corrupted.images}
    for name, row in errors.items():
        numbers = isinstance(row, list) and all(type(value) in (int, float) and 0 <= value <= 1 for value in row)
        if not numbers or len(row) != SEVERITIES or not sum(row):
            raise UsageError(
                f"{os.fspath(path)!r} must hold {SEVERITIES} errors in [0, 1], not all 0, of {name}. Received: {row!r}."
            )
    return {name: tuple(map(float, row)) for name, row in errors.items()}


def evaluate_corruptions(
    model: keras.Model | Classifier,
    corrupted: CorruptedImages,
    *,
    baseline: Mapping[str, tuple[float, ...]] | None = None,
    batch_size: int = 128,
    progress: bool = True,
) -> CorruptionErrors:
    """Returns how many images a model classifies correctly under each corruption, by severity.

    Arguments:
        model: a Keras model from images in [0, 1] to logits, or a `Classifier`.
        corrupted: as `read_corruptions` returns them.
        baseline: the errors of another classifier, as `read_baseline` returns them.
        batch_size: number of images shown at once.
        progress: whether to show a bar.

    Raises:
        UsageError: the model does not take the images, or has fewer classes.
    """
    classifier, labels = as_classifier(model), corrupted.labels
    count, size = len(labels) // SEVERITIES, min(batch_size, len(labels))
    first = next(iter(corrupted.images.values()))[:1].astype(np.float32) * PIXEL_SCALE
    classifier.check(first, labels)
    correct = {}
    batches = math.ceil(len(labels) / size)
    with tqdm(total=batches * len(corrupted.images), desc="corruptions", unit="batch", disable=not progress) as bar:
        for name, images in corrupted.images.items():
            is_correct = np.zeros(len(labels), bool)
            for rows, new in filled(np.arange(len(labels)), size):
                logits = classifier.logits(images[rows].astype(np.float32) * PIXEL_SCALE)[:new]
                is_correct[rows[:new]] = predicted(logits).numpy() == labels[rows[:new]]
                bar.update()
            correct[name] = tuple(map(int, is_correct.reshape(SEVERITIES, count).sum(axis=1)))
    return CorruptionErrors(correct, count, baseline)


def _load(path: pathlib.Path) -> np.ndarray:
    """Returns the array in an .npy file, which stays there: no more than what is used of it is read."""
    try:
        if not path.is_file():
            raise ValueError("it is not a file")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        raise UsageError(f"Cannot read {os.fspath(path)!r}: it is no .npy file of plain numbers: {error}.") from None
