"""Labelled images in memory or mapped into it, validated once so that nothing after has to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from racl_tf.errors import UsageError
from racl_tf.image_spec import ImageSpec

PIXEL_SCALE = np.float32(1 / 255)
_ALIGNMENT = 64  # bytes
_TOGETHER = 256  # images looked at at once


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and their labels.

    Arguments:
        x: images of shape (N, H, W, C) with C in {1, 3}: uint8 in 0..255 or float32 in [0, 1]; in memory, or a
            `numpy.memmap` of a file.
        y: labels, int32 of shape (N,), from 0.
        files: what file each image is from, below the folder of all; None where images are not from files.

    Raises:
        UsageError: the arrays are not as described, are empty or have different lengths.

    >>> data = ImageSet(np.full((2, 8, 8, 1), 255, np.uint8), np.array([0, 1], np.int32))
    >>> len(data), float(data.images([1]).max())
    (2, 1.0)
    """

    x: np.ndarray
    y: np.ndarray
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_images(self.x)
        check_labels(self.y)
        if len(self.x) != len(self.y):
            raise UsageError(f"Expected one label per image. Received {len(self.x)} images and {len(self.y)} labels.")
        if self.files is not None and len(self.files) != len(self.x):
            raise UsageError(f"Expected one file per image. Received {len(self.x)} images and {len(self.files)} files.")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The height, width and channels of an image."""
        height, width, channels = self.x.shape[1:]
        return height, width, channels

    @property
    def dtype(self) -> np.dtype:
        """The type that images are kept in."""
        return self.x.dtype

    @property
    def root(self) -> "ImageSet":
        """The set whose images these are: itself, or that which it is a part of."""
        return self

    @property
    def rows(self) -> np.ndarray:
        """The places of the images in `root`, integer (N,)."""
        return np.arange(len(self))

    @property
    def is_mapped(self) -> bool:
        """Whether the images are in a file that is mapped into memory."""
        return isinstance(self.root.x, np.memmap)

    def stored(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Returns the images at `indices` as they are kept, uint8 or float32."""
        return self.x[indices if isinstance(indices, slice) else np.asarray(indices)]

    def images(self, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Returns the images at `indices` (all by default) as float32 in [0, 1]."""
        chosen = self.stored(slice(None) if indices is None else indices)
        return chosen.astype(np.float32) * PIXEL_SCALE if chosen.dtype == np.uint8 else chosen

    def take(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """Returns the images and labels at `indices`, in that order, as a copy."""
        chosen = np.asarray(indices)
        return ImageSet(self.stored(chosen), self.y[chosen], _chosen(self.files, chosen))

    def part(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """Returns what `take` returns, but with this set's images in place of a copy until `x` is asked for."""
        return _Part(self, np.asarray(indices))


def _chosen(files: tuple[str, ...] | None, indices: np.ndarray) -> tuple[str, ...] | None:
    return None if files is None else tuple(files[index] for index in indices)


class _Part(ImageSet):
    """Images of another set, which are looked up there."""

    def __init__(self, whole: ImageSet, rows: np.ndarray) -> None:
        if not len(rows):
            raise UsageError("Expected at least one image. Received none.")
        kept = {"y": whole.y[rows], "files": _chosen(whole.files, rows)}
        vars(self).update(kept, _root=whole.root, _rows=whole.rows[rows])  # of a frozen class

    @property
    def root(self) -> ImageSet:
        return vars(self)["_root"]

    @property
    def rows(self) -> np.ndarray:
        return vars(self)["_rows"]

    @cached_property
    def x(self) -> np.ndarray:  # type: ignore[override]
        return self.root.x[self.rows]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.root.shape

    @property
    def dtype(self) -> np.dtype:
        return self.root.dtype

    def stored(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        return self.root.x[self.rows[indices if isinstance(indices, slice) else np.asarray(indices)]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification task: what to train on, what to test on, and what the labels mean.

    Arguments:
        name: what the set was loaded by.
        train: the training images.
        test: the test images, of the same shape.
        class_names: one name per class, in the order of the labels.

    Raises:
        UsageError: a label has no class name, or the two sets' images differ in shape.
    """

    name: str
    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        for split, data in (("training", self.train), ("test", self.test)):
            if (largest := int(data.y.max())) >= self.num_classes:
                raise UsageError(
                    f"Dataset {self.name!r} has {self.num_classes} classes, so its labels must be in "
                    f"0..{self.num_classes - 1}. Received the {split} label {largest}: give every class a name or "
                    "correct the labels."
                )
        if self.train.shape != self.test.shape:
            raise UsageError(
                f"The training and test images of {self.name!r} must have one shape. "
                f"Received {self.train.shape} and {self.test.shape}: convert or resize them."
            )

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The height, width and channels of an image."""
        return self.train.shape

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """The mean of every channel over the training images in [0, 1]."""
        return tuple(_mean(self.train).tolist())

    @cached_property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of every channel over the training images in [0, 1]; 1 for a constant channel."""
        return tuple(std if std > 1e-6 else 1.0 for std in _std(self.train).tolist())

    @cached_property
    def spec(self) -> ImageSpec:
        """What a network has to know of the images: classes, shape, mean and standard deviation."""
        return ImageSpec(self.num_classes, input_shape=self.input_shape, mean=self.mean, std=self.std)


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Returns an array without values that begins where TensorFlow can share it rather than copy it."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def is_aligned(x: np.ndarray) -> bool:
    """Returns whether TensorFlow can share an array rather than copy it."""
    return not x.ctypes.data % _ALIGNMENT and x.flags.c_contiguous


def _mean(data: ImageSet) -> np.ndarray:
    """Returns the mean of every channel in [0, 1], float64 (C,)."""
    if data.dtype == np.uint8:
        return _sums(data, lambda part: part) / _pixels(data) / 255
    return _sums(data, lambda part: part.astype(np.float64)) / _pixels(data)


def _std(data: ImageSet) -> np.ndarray:
    """Returns the standard deviation of every channel in [0, 1], float64 (C,); that of bytes exact but for its root."""
    count = _pixels(data)
    if data.dtype == np.uint8:
        sums, squares = _sums(data, lambda part: part), _sums(data, lambda part: np.square(part, dtype=np.uint16))
        pairs = zip(sums.tolist(), squares.tolist(), strict=True)
        return np.sqrt([(count * square - total**2) / count**2 for total, square in pairs]) / 255
    mean = _mean(data)
    return np.sqrt(_sums(data, lambda part: np.square(part - mean)) / count)


def _pixels(data: ImageSet) -> int:
    height, width, _ = data.shape
    return len(data) * height * width


def _sums(data: ImageSet, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns the sum over every channel, (C,), of a function of pixels, by parts that no copy of all images is made.

    Integers are summed as such, and exactly.
    """
    parts = (function(data.stored(slice(start, start + _TOGETHER))) for start in range(0, len(data), _TOGETHER))
    by_place = sum(part.sum(axis=0, dtype=np.float64 if part.dtype.kind == "f" else np.int64) for part in parts)
    return by_place.sum(axis=(0, 1))


def check_images(x: np.ndarray) -> None:
    """Checks that an array holds images as an `ImageSet` has them.

    Raises:
        UsageError: it does not.
    """
    if x.ndim != 4 or x.shape[-1] not in (1, 3):
        raise UsageError(f"Expected images of shape (N, H, W, C) with C of 1 or 3. Received shape {x.shape}.")
    if not x.size:
        raise UsageError(f"Expected at least one image. Received an empty array of shape {x.shape}.")
    if x.dtype == np.uint8:
        return
    if x.dtype != np.float32:
        raise UsageError(f"Expected images of uint8 (0..255) or float32 ([0, 1]). Received {x.dtype}: convert them.")
    low, high = x.min(), x.max()
    if np.isnan(low):
        raise UsageError(f"Expected images in [0, 1]. Received NaN in {np.isnan(x).any((1, 2, 3)).sum()} of {len(x)}.")
    if low < 0 or high > 1:
        raise UsageError(
            f"Expected float images in [0, 1]. Received values from {low} to {high}: divide by the largest "
            "possible value, pass uint8 for 0..255, and leave normalisation to the network."
        )


def as_labels(y: np.ndarray) -> np.ndarray:
    """Returns integer labels as int32.

    Raises:
        UsageError: one does not fit, and would become the label of another class.
    """
    limits = np.iinfo(np.int32)
    if y.size and (y.min() < limits.min or y.max() > limits.max):
        raise UsageError(
            f"Expected labels from 0, within 32 bits. Received labels from {y.min()} to {y.max()}: "
            "renumber the classes, drop unlabelled images."
        )
    return y.astype(np.int32)


def check_labels(y: np.ndarray) -> None:
    """Checks that an array holds labels as an `ImageSet` has them.

    Raises:
        UsageError: it does not.
    """
    if y.ndim != 1 or y.dtype != np.int32:
        raise UsageError(
            f"Expected labels of shape (N,) and dtype int32. Received shape {y.shape} and dtype {y.dtype}: "
            "convert with `y.reshape(-1).astype('int32')`, or argmax where they are one-hot."
        )
    if y.size and (smallest := y.min()) < 0:
        raise UsageError(f"Expected labels from 0. Received {smallest}: renumber the classes, drop unlabelled images.")
