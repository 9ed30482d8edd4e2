"""Datasets in the user's own files: folders of images and .npz archives."""

import functools
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from racl_tf.data.image_set import Dataset, ImageSet, as_labels, check_images, check_labels
from racl_tf.data.image_storage import ImageStorage, stamp_of
from racl_tf.data.resizing import resize, resize_each
from racl_tf.data.splits import hold_out_test
from racl_tf.errors import UsageError
from racl_tf.files import ArrayRows, array_sizes, load_arrays

_UNREADABLE = (
    "BUFR",
    "EPS",
    "GRIB",
    "HDF5",
    "MPEG",
    "WMF",
)  # which Pillow knows by name, but not by itself how to read
_KNOWN_BY_CONTENT = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # whatever a file is called
_SPLITS = ("train", "test", "val", "valid", "validation")
_NAMED = 5  # entries that a message names
MAX_PIXELS = 89_478_485  # of an image, Pillow's own limit: 256 MiB as colours of 8 bits
_GRAY_MODES = ("1", "L", "LA")
_HELD_OUT = 0.2


def read_archive(path: Path, storage: ImageStorage) -> Dataset:
    """Reads x, y and optionally x_test, y_test from an .npz file; classes are named by their number.

    Raises:
        UsageError: the file cannot be read, lacks an array, holds arrays that are no `ImageSet`, has test images of a
            class without training images, or labels beyond the number of training images.
    """
    arrays = _load_archive(path, storage)
    has_test = bool({"x_test", "y_test"} & arrays.keys())
    needed = ["x", "y", *(["x_test", "y_test"] if has_test else [])]
    if missing := [key for key in needed if key not in arrays]:
        raise UsageError(
            f"{path} lacks {', '.join(missing)}: it holds {', '.join(arrays) or 'nothing'}. "
            "Save it with np.savez(path, x=..., y=...), and x_test=..., y_test=... where there are test images."
        )
    if others := [key for key in arrays if key not in needed]:
        warnings.warn(f"Of {os.fspath(path)!r} these arrays are left out: {', '.join(others[:_NAMED])}.", stacklevel=4)
    train = _from_arrays(arrays.pop("x"), arrays.pop("y"), "train", storage)
    num_classes = int(train.y.max()) + 1
    if num_classes > len(train):
        raise UsageError(
            f"The labels y of {os.fspath(path)!r} go up to {num_classes - 1}, which are more classes than its "
            f"{len(train)} training images: number the classes from 0 without gaps."
        )
    if has_test:
        test = _from_arrays(arrays.pop("x_test"), arrays.pop("y_test"), "test", storage)
        if len(extra := np.setdiff1d(test.y, train.y)):
            raise UsageError(
                f"y_test of {os.fspath(path)!r} has classes that y lacks: {', '.join(map(str, extra[:_NAMED]))}"
                f"{', ...' if len(extra) > _NAMED else ''}. Drop their images or add some to x and y."
            )
    else:
        train, test = hold_out_test(train, _HELD_OUT)
    return Dataset(str(path), train, test, tuple(str(label) for label in range(num_classes)))


def read_folder(root: Path, storage: ImageStorage, max_pixels: int = MAX_PIXELS) -> Dataset:
    """Reads root/<class>/<image> or root/{train,test}/<class>/<image>; classes are in alphabetical order.

    Images are what Pillow reads by itself, of several frames the first, in the folder of a class or anywhere below it.
    What else is there but hidden files is left out with a warning. Images have one channel if all of them are grey,
    three otherwise.

    Raises:
        UsageError: a class is empty or unknown to train/, or images cannot be read, are not 8-bit, have more than
            `max_pixels`, or differ in shape and the storage has no size.
    """
    with _pixels_limited(max_pixels):
        return _read_folder(root, storage)


@contextmanager
def _pixels_limited(most: int) -> Iterator[None]:
    """Has Pillow refuse larger images, before their pixels are decoded, where it but warns."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = most
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _read_folder(root: Path, storage: ImageStorage) -> Dataset:
    has_test = (root / "train").is_dir() and (root / "test").is_dir()
    left_out: list[Path] = []
    if has_test:
        left_out += [path for path in _visible(root) if path.name not in ("train", "test")]
    train_files = _files_by_class(root / "train" if has_test else root, left_out)
    test_files = _files_by_class(root / "test", left_out) if has_test else {}
    if left_out:
        warnings.warn(_summary(root, left_out), stacklevel=5)
    class_names = tuple(train_files)
    if extra := sorted(test_files.keys() - train_files.keys()):
        raise UsageError(f"{root / 'test'} has classes that {root / 'train'} lacks: {', '.join(extra)}.")
    paths = [path for files in (*train_files.values(), *test_files.values()) for path in files]
    mode = "L" if all(map(_is_gray, paths)) else "RGB"
    train = _from_files(root, train_files, class_names, mode, "train", storage)
    if has_test:
        test = _from_files(root, test_files, class_names, mode, "test", storage)
    else:
        train, test = hold_out_test(train, _HELD_OUT)
    return Dataset(str(root), train, test, class_names)


def _load_archive(path: Path, storage: ImageStorage) -> dict[str, Any]:
    """Returns the arrays of an archive, those of images row by row where they are not to be held in memory."""
    images = {name: size for name, size in array_sizes(path).items() if name in ("x", "x_test")}
    if not images or storage.fits(sum(images.values())):
        return load_arrays(path)
    return {name: ArrayRows(path, name) for name in images} | load_arrays(path, but=images.keys())


def _from_arrays(x: np.ndarray | ArrayRows, y: np.ndarray, split: str, storage: ImageStorage) -> ImageSet:
    if np.issubdtype(y.dtype, np.integer):
        y = as_labels(y)
    if isinstance(x, ArrayRows):
        check_labels(y)
        images = resize_each(_checked(x), storage.size)
        return storage.keep(split, images, y, len(x), lambda: stamp_of([Path(storage.origin)]))
    if np.issubdtype(x.dtype, np.floating):
        x = x.astype(np.float32, copy=False)
    data = ImageSet(x, y)
    return ImageSet(resize(data.x, storage.size), data.y)


def _checked(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields images, floats as float32, as long as an `ImageSet` would take them."""
    for image in images:
        if np.issubdtype(image.dtype, np.floating):
            image = image.astype(np.float32, copy=False)
        check_images(image[None])
        yield image


def _from_files(
    root: Path,
    files_by_class: dict[str, list[Path]],
    class_names: tuple[str, ...],
    mode: str,
    split: str,
    storage: ImageStorage,
) -> ImageSet:
    paths = [path for files in files_by_class.values() for path in files]
    unusable: dict[Path, UsageError] = {}

    def images() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                yield _pixels(path, mode)
            except UsageError as error:
                unusable[path] = error

    y = [class_names.index(name) for name, files in files_by_class.items() for _ in files]
    names = tuple(path.relative_to(root).as_posix() for path in paths)

    def stamp() -> str:
        return stamp_of(paths, mode, Image.MAX_IMAGE_PIXELS)

    try:
        data = storage.keep(split, resize_each(images(), storage.size), y, len(paths), stamp, names)
    except UsageError:
        if not unusable:
            raise
    if unusable:
        raise _all_unusable(root, unusable, len(paths))
    return data


def _all_unusable(root: Path, errors: dict[Path, UsageError], count: int) -> UsageError:
    first = next(iter(errors.values()))
    if len(errors) == 1:
        return first
    names = [path.relative_to(root).as_posix() for path in errors]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return UsageError(
        f"{len(names)} of {count} images in {os.fspath(root)!r} cannot be used: {', '.join([*names[:_NAMED], *more])}. "
        f"The first: {first}"
    )


def _files_by_class(folder: Path, left_out: list[Path]) -> dict[str, list[Path]]:
    """Returns the images of each sub-folder, and adds to `left_out` what is none."""
    files: dict[str, list[Path]] = {}
    for path in _visible(folder):
        if path.is_dir():
            files[path.name] = sorted(_images(path, left_out))
        else:
            left_out.append(path)
    if not all(files.values()) or not files:
        empty = ", ".join(name for name, found in files.items() if not found) or "there are no sub-folders"
        raise UsageError(
            f"Expected {folder} to hold one sub-folder per class with images in it, such as .png or .jpg, or such "
            f"folders in train/ and test/. Without images: {empty}."
        )
    for name, found in files.items():
        if (name in _SPLITS or len(files) == 1) and all(path.parent != folder / name for path in found):
            raise UsageError(
                f"{folder / name} looks like a folder of classes, not like a class: its images lie in sub-folders. "
                f"Name that folder itself as the data set, or name the parts train/ and test/. Received: {folder} "
                f"with {', '.join(files)}."
            )
    return files


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """Returns all images in a folder and below it, whether or not they are of a class."""
    return list(_images(folder, []))


def _images(folder: Path, left_out: list[Path]) -> Iterator[Path]:
    """Yields the images in a folder and below it, and adds to `left_out` what is none."""
    for path in _visible(folder):
        if path.is_dir() and not path.is_symlink():  # a link may lead round in a circle
            yield from _images(path, left_out)
        elif path.is_file() and _is_image(path):
            yield path
        else:
            left_out.append(path)


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in _suffixes():
        return True
    try:
        with Image.open(path, formats=[name for name in _KNOWN_BY_CONTENT if name in Image.OPEN]):
            return True
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return True  # which is said where it is read
    except (OSError, SyntaxError, ValueError):
        return False


@functools.cache
def _suffixes() -> frozenset[str]:
    """Returns the suffixes of the files that Pillow reads."""
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in _formats())


@functools.cache
def _formats() -> tuple[str, ...]:
    """Returns the formats that Pillow reads by itself, without another program such as Ghostscript for EPS."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - set(_UNREADABLE)))


def _summary(root: Path, left_out: list[Path]) -> str:
    kinds = Counter("folders" if path.is_dir() else path.suffix.lower() or "without suffix" for path in left_out)
    names = [str(path.relative_to(root)) + "/" * path.is_dir() for path in left_out[:_NAMED]]
    more = [f"{len(left_out) - _NAMED} more"] if len(left_out) > _NAMED else []
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return (
        f"{len(left_out)} entries of {os.fspath(root)!r} are no images of a class and are left out ({counts}): "
        f"{', '.join([*names, *more])}."
    )


def _is_gray(path: Path) -> bool:
    try:
        with _opened(path) as image:
            return image.mode in _GRAY_MODES
    except UsageError:
        return True  # which is said with all others' faults where pixels are read


def _pixels(path: Path, mode: str) -> np.ndarray:
    with _opened(path) as image:
        return np.atleast_3d(np.asarray(image.convert(mode)))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=_formats()) as image:
            if image.mode.startswith(("I", "F")):  # which Pillow would clip at 255 rather than scale
                raise UsageError(f"Expected 8-bit images. Received mode {image.mode} in {path}: convert it.")
            yield image
    except UsageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UsageError(
            f"The image {path} has more than {Image.MAX_IMAGE_PIXELS} pixels, as files have that are made to fill the "
            "memory. Shrink or remove it, or raise data.max_pixels (in Python max_pixels) if it is meant so."
        ) from None
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        raise UsageError(f"Cannot read the image {path}: {error}. Repair or remove it.") from error
