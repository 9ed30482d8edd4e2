"""The adversarial images of an evaluation with its figures, which anyone can recount without an attack."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np

from racl_tf import file_names
from racl_tf.attacks import NORMS, Classifier
from racl_tf.attacks.classifier import as_classifier
from racl_tf.errors import UsageError
from racl_tf.evaluation.adversarial_images import find_again
from racl_tf.evaluation.results import AttackOutcomes, Evaluation
from racl_tf.evaluation.task import predictions, prepare_task
from racl_tf.files import as_path, load_arrays, read_json, read_text, write_arrays, write_json, write_text
from racl_tf.version import library_versions

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data

ROUNDING: Mapping[str, float] = {"linf": 1e-6, "l2": 1e-5}
"""By how much more than eps an image may be away, by norm: what rounding to float32 adds, in units of pixels."""

_FIGURES = ("correct", "accuracy", "interval", "success_rate")


@dataclass(frozen=True, eq=False)
class EvaluationBundle:
    """An adversarial image of every image that fell, beside all clean images and what became of each.

    It shows that an image can be misclassified inside the ball. That one which stood cannot, it does not show: no
    images can. Each image is kept as it was shown to the model, in float32, since rounding to bytes may undo an attack.

    Arguments:
        clean: the test images, float32 (N, H, W, C) in [0, 1].
        labels: their true labels, int32 (N,).
        predictions: the classes predicted for them, int32 (N,).
        index: which images are correct clean and fell to any attack, int32 (M,), rising.
        attack: the first attack, in the order of the evaluation, that each of them fell to, str (M,).
        adversarial: the images that it found, float32 (M, H, W, C).
        predicted: the classes that these are taken for, int32 (M,); -1 where the outputs are not finite.
        outcomes: what became of all images, by the names of the attacks.
    """

    clean: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    index: np.ndarray
    attack: np.ndarray
    adversarial: np.ndarray
    predicted: np.ndarray
    outcomes: Mapping[str, AttackOutcomes]

    def save(self, folder: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
        """Writes images.npz, results.json and, last, SHA256SUMS to a folder, each atomically.

        Arguments:
            folder: is made if it is missing.
            results: what results.json holds: `Evaluation.to_dict()` with "norm", "eps" and the model's "digest".
        """
        folder, arrays = as_path(folder), dict(vars(self))
        for name, outcomes in arrays.pop("outcomes").items():
            arrays |= outcomes.to_arrays(name)
        write_arrays(folder / file_names.BUNDLE_IMAGES, arrays)
        write_json(folder / file_names.RESULTS, results)
        write_text(folder / file_names.CHECKSUMS, _checksums(folder))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> tuple[Self, dict[str, Any]]:
        """Returns the bundle in a folder and the content of its results.json, both as they were written.

        Raises:
            UsageError: a file is missing, another one than was written, or does not hold what a bundle does.
        """
        folder = as_path(folder)
        images, record = folder / file_names.BUNDLE_IMAGES, folder / file_names.RESULTS
        for path in (images, record, folder / file_names.CHECKSUMS):
            if not path.is_file():
                raise UsageError(
                    f"{os.fspath(folder)!r} is no bundle: {path.name} is missing. Give the folder that "
                    f"racl-evaluate --keep_adversarial wrote, WORKDIR/{file_names.EVALUATE}/{file_names.BUNDLE}."
                )
        _check_checksums(folder)
        results, arrays = read_json(record), load_arrays(images)
        try:
            outcomes = {name: AttackOutcomes.from_arrays(arrays, name) for name in _made(results)}
            names = [name for name in cls.__dataclass_fields__ if name != "outcomes"]
            bundle = cls(**{name: arrays[name] for name in names}, outcomes=outcomes)
            bundle._check()
            if results["norm"] not in NORMS or not 0 < results["eps"] < np.inf:
                raise ValueError(f"no ball is {results['norm']!r} of {results['eps']!r}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{os.fspath(folder)!r} is no bundle: its files do not hold what racl-evaluate writes ({error!r})."
            ) from None
        return bundle, results

    def _check(self) -> None:
        """Raises a ValueError if the arrays are not of the shapes and types that a bundle has."""
        count, fallen = len(self.labels), len(self.index)
        expected = {
            "clean": (np.float32, (count, *self.clean.shape[1:])),
            "labels": (np.int32, (count,)),
            "predictions": (np.int32, (count,)),
            "index": (np.int32, (fallen,)),
            "attack": (self.attack.dtype, (fallen,)),
            "adversarial": (np.float32, (fallen, *self.clean.shape[1:])),
            "predicted": (np.int32, (fallen,)),
        }
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
        for name, found in self.outcomes.items():
            if any(array.dtype != np.int32 or array.shape != (count,) for array in found):
                raise ValueError(f"the outcomes of {name} are not int32 of shape {(count,)}")
        if not count or (np.diff(self.index) <= 0).any() or not np.isin(self.index, np.arange(count)).all():
            raise ValueError("index does not rise within the images")
        if not (self.clean.min() >= 0 and self.clean.max() <= 1):
            raise ValueError("clean images are not in [0, 1]")
        if self.labels.min() < 0:
            raise ValueError("a label is negative")


def make_bundle(
    model: keras.Model | Classifier, data: Data, evaluation: Evaluation, *, batch_size: int = 128
) -> EvaluationBundle:
    """Returns the adversarial images of all that fell in an evaluation, each of the first attack that it fell to.

    They are found again, as `find_adversarial_images` does it. One that is not found again, or is misclassified by
    rounding alone, is that of the next attack that the image fell to; where there is none, it is left out.

    Arguments:
        model: as it was evaluated.
        data: as it was evaluated on.
        evaluation: what became of each image.
        batch_size: number of images attacked at once; the same as before spares a trace.
    """
    task = prepare_task(model, data, batch_size=batch_size)
    clean = task.images(np.arange(len(task.labels)))
    found: dict[int, tuple[str, np.ndarray, int]] = {}
    for name, outcomes in evaluation.outcomes.items():
        fallen = np.flatnonzero(evaluation.clean & outcomes.is_adversarial)
        left = fallen[~np.isin(fallen, list(found))]
        again = find_again(task, evaluation, name, left)
        if again:
            index = np.array(sorted(again))
            images = np.stack([again[image] for image in index.tolist()])
            taken = predictions(task.classifier, images)
            ball = evaluation.attacks[name][0]
            holds = (taken != task.labels[index]) & _is_inside(images, clean[index], ball.norm, ball.eps)
            rows = zip(index[holds].tolist(), images[holds], taken[holds].tolist(), strict=True)
            found |= {image: (name, adversarial, taken_for) for image, adversarial, taken_for in rows}
    index = np.array(sorted(found), np.int32)
    kept = [found[image] for image in index.tolist()]
    return EvaluationBundle(
        clean,
        task.labels,
        task.predictions,
        index,
        np.array([name for name, _, _ in kept], str),
        np.array([adversarial for _, adversarial, _ in kept], np.float32).reshape(len(index), *clean.shape[1:]),
        np.array([taken_for for *_, taken_for in kept], np.int32),
        evaluation.outcomes,
    )


def verify_bundle(folder: str | os.PathLike[str], model: keras.Model | Classifier) -> Evaluation:
    """Returns the figures of a bundle, recounted with the model in one forward pass, if all that it claims holds.

    Every file is as it was written. The model is the one that was evaluated, and predicts for all images the classes
    that were noted. Every image that fell has an adversarial image that is misclassified, in [0, 1] and in the ball of
    eps, up to `ROUNDING`. Counts, accuracies, intervals and rates of success are those of results.json. That images
    which stood would stand other attacks is not claimed.

    Arguments:
        folder: of the bundle.
        model: that was evaluated.

    Raises:
        UsageError: something does not hold; it names the file and the image.
    """
    bundle, results = EvaluationBundle.load(folder)
    images, figures = (os.path.join(os.fspath(folder), name) for name in (file_names.BUNDLE_IMAGES, file_names.RESULTS))
    classifier = as_classifier(model)
    classes = classifier.check(bundle.clean[:1], bundle.labels)
    if (digest := classifier.digest(bundle.clean[:1])) != results.get("digest"):
        versions = results.get("versions")
        other = f" It was measured by {versions}, and this is {library_versions()}." * (versions != library_versions())
        raise UsageError(
            f"{figures!r} is of another model: its digest is {results.get('digest')!r}, and that of the given one "
            f"{digest!r}. Give the model that was evaluated, with the same bounds.{other}"
        )
    _demand(images, np.arange(len(bundle.labels)), predictions(classifier, bundle.clean) == bundle.predictions,
            "the model predicts another class for the clean image than was noted")  # fmt: skip
    recounted = Evaluation(bundle.labels, bundle.predictions, classes, bundle.outcomes, {}, results.get("seed", 0))
    fallen = np.flatnonzero(recounted.clean & ~recounted.worst_case)
    _demand(images, fallen, np.isin(fallen, bundle.index), "it fell, and no adversarial image of it is kept")
    _demand(images, bundle.index, np.isin(bundle.index, fallen), "an adversarial image is kept, and it did not fall")
    fell = [name in bundle.outcomes and bool(bundle.outcomes[name].is_adversarial[image])
            for image, name in zip(bundle.index.tolist(), bundle.attack.tolist(), strict=True)]  # fmt: skip
    _demand(images, bundle.index, np.array(fell, bool), "it did not fall to the attack that is noted")
    clean, labels = bundle.clean[bundle.index], bundle.labels[bundle.index]
    inside = _is_inside(bundle.adversarial, clean, results["norm"], results["eps"])
    _demand(images, bundle.index, inside, f"the adversarial image is outside of the ball, {results['norm']} eps "
            f"{results['eps']:.6g}, or of [0, 1]")  # fmt: skip
    taken = predictions(classifier, bundle.adversarial)
    _demand(images, bundle.index, taken != labels, "the model classifies the adversarial image correctly")
    _demand(images, bundle.index, taken == bundle.predicted, "the model takes the adversarial image for another "
            "class than was noted")  # fmt: skip
    _check_figures(figures, results, recounted)
    return recounted


def _check_figures(path: str, results: Mapping[str, Any], recounted: Evaluation) -> None:
    """Raises a UsageError if a figure of results.json is not the recounted one."""
    found = json.loads(json.dumps(recounted.to_dict()))
    rows = [("", name, results.get(name), found[name]) for name in ("images", "classes")]
    for name, row in found["results"].items():
        given = results["results"].get(name)
        given = given if isinstance(given, Mapping) else {}
        rows += [(f"{name}: ", figure, given.get(figure), row[figure]) for figure in _FIGURES if figure in row]
        if given.get("attacks"):
            last = given["attacks"][-1].get("correct_after")
            rows.append((f"{name}: ", "correct_after of the last attack", last, row["correct"]))
    names = tuple(sorted(results["results"])), tuple(sorted(found["results"]))
    for name, figure, given, counted in (*rows, ("", "the rows of results", *names)):
        if given != counted:
            raise UsageError(f"{path!r} does not hold: {name}{figure} is {given!r}, and recounted {counted!r}.")


def _demand(path: str, index: np.ndarray, holds: np.ndarray, otherwise: str) -> None:
    """Raises a UsageError that names the first image for which something does not hold, and how many there are."""
    if not holds.all():
        wrong = index[~holds]
        more = f" It is the first of {len(wrong)} such images of {len(index)}." if len(wrong) > 1 else ""
        raise UsageError(f"{path!r} does not hold: image {wrong[0]}: {otherwise}.{more}")


def _is_inside(images: np.ndarray, clean: np.ndarray, norm: str, eps: float) -> np.ndarray:
    """Returns which images (M, ...) are in [0, 1] and, up to rounding, in the eps-ball around the clean ones, (M,)."""
    size = math.prod(images.shape[1:])
    difference = (images.astype(np.float64) - clean).reshape(len(images), size)
    order = np.inf if norm == "linf" else 2
    distance = np.linalg.norm(difference, order, axis=1)
    pixels = images.reshape(len(images), size)
    return (distance <= eps + ROUNDING[norm]) & (pixels >= 0).all(1) & (pixels <= 1).all(1)


def _made(results: Mapping[str, Any]) -> list[str]:
    """Returns the names of the attacks among the rows of results.json."""
    return [name for name, row in results["results"].items() if "attacks" in row]


def _checksums(folder: pathlib.Path) -> str:
    """Returns the SHA-256 of a bundle's files, as `sha256sum` prints them."""
    names = sorted((file_names.BUNDLE_IMAGES, file_names.RESULTS))
    return "".join(f"{_sha256(folder / name)}  {name}\n" for name in names)


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_checksums(folder: pathlib.Path) -> None:
    """Raises a UsageError that names the file which is not as it was written."""
    path = folder / file_names.CHECKSUMS
    try:
        written = read_text(path).splitlines(keepends=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{os.fspath(path)!r} is damaged: {error}.") from None
    now = _checksums(folder).splitlines(keepends=True)
    if len(written) != len(now):
        raise UsageError(f"{os.fspath(path)!r} is damaged: it must have {len(now)} lines, and has {len(written)}.")
    for before, line in zip(written, now, strict=True):
        if before != line:
            name = line.split()[1]
            raise UsageError(
                f"{os.fspath(folder / name)!r} is not as it was written: its SHA-256 is {line.split()[0]}, and "
                f"{file_names.CHECKSUMS} says {before.strip()!r}."
            )
