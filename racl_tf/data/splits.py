"""Stratified random splits: every part has each class in the proportion of the whole."""

import numpy as np

from racl_tf.data.image_set import ImageSet
from racl_tf.errors import UsageError
from racl_tf.seeding import derive


def split_halves(data: ImageSet, *, seed: int) -> tuple[ImageSet, ImageSet]:
    """Splits the images into two disjoint halves, such as one for weights and one for the architecture.

    Classes with an odd number of images give their extra one to the first and the second half in
    turn, so the sizes differ by at most one.

    Raises:
        UsageError: a class has fewer than two images.
    """
    counts = _class_counts(data, least=2)
    odd = counts % 2
    first = _draw(data.y, counts // 2 + odd * (np.cumsum(odd) % 2), derive(seed, "data/split_halves"))
    return _part(data, first), _part(data, ~first)


def hold_out(data: ImageSet, count: int, *, seed: int) -> tuple[ImageSet, ImageSet]:
    """Splits the images into the rest and exactly `count` that are held out.

    Every class gives its share, rounded by largest remainder, and keeps at least one image in the rest.

    Raises:
        UsageError: a class has fewer than two images, or `count` is not in 1..N - number of classes.
    """
    counts = _class_counts(data, least=2)
    most = len(data) - len(counts)
    if not 1 <= count <= most:
        raise UsageError(
            f"Cannot hold out {count} of {len(data)} images in {len(counts)} classes: choose 1 to {most}, "
            "which leaves one of every class."
        )
    held_out = _draw(data.y, _shares(counts, count, limit=counts - 1), derive(seed, "data/hold_out"))
    return _part(data, ~held_out), _part(data, held_out)


def hold_out_test(data: ImageSet, share: float) -> tuple[ImageSet, ImageSet]:
    """Splits a source that has no test images into training and test images, the same in every run."""
    return hold_out(data, max(1, round(share * len(data))), seed=0)


def subset(data: ImageSet, count: int, *, seed: int) -> ImageSet:
    """Returns exactly `count` of the images, each class in its share rounded by largest remainder.

    Raises:
        UsageError: `count` is not in 1..N.
    """
    if not 1 <= count <= len(data):
        raise UsageError(f"Cannot take {count} of {len(data)} images: choose 1 to {len(data)}.")
    counts = _class_counts(data)
    chosen = _draw(data.y, _shares(counts, count, limit=counts), derive(seed, "data/subset"))
    rows = np.flatnonzero(chosen)
    return data.part(rows) if data.is_mapped else data.take(rows)  # a copy, so that the others need not be kept


def _class_counts(data: ImageSet, *, least: int = 0) -> np.ndarray:
    counts = np.bincount(data.y)
    if small := [f"class {label} has {count}" for label, count in enumerate(counts) if count < least]:
        raise UsageError(
            f"Splitting needs at least {least} images of every class, but {', '.join(small)}: add images, drop the "
            "class and renumber the others, or use more of the set."
        )
    return counts


def _shares(counts: np.ndarray, total: int, *, limit: np.ndarray) -> np.ndarray:
    """Divides `total` in proportion to `counts` by largest remainder, giving no class more than its `limit`."""
    quotas = total * counts / counts.sum()
    shares = np.minimum(np.floor(quotas).astype(int), limit)
    while shares.sum() < total:
        shares[np.argmax(np.where(shares < limit, quotas - shares, -np.inf))] += 1
    return shares


def _draw(labels: np.ndarray, per_class: np.ndarray, seed: int) -> np.ndarray:
    """Marks `per_class[c]` random positions of every class c."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), bool)
    for label, count in enumerate(per_class):
        drawn[generator.permutation(np.flatnonzero(labels == label))[:count]] = True
    return drawn


def _part(data: ImageSet, mask: np.ndarray) -> ImageSet:
    return data.part(np.flatnonzero(mask))
