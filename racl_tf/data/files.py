"""Datasets in the user's own files: folders of images and .npz archives."""

import functools
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from racl_tf.data.image_set import Dataset, ImageSet, as_labels
from racl_tf.data.resizing import resize, resize_each, stack
from racl_tf.data.splits import hold_out_test
from racl_tf.errors import UsageError
from racl_tf.files import load_arrays

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
_NAMED = 5  # entries left out that a warning names
_GRAY_MODES = ("1", "L", "LA")
_HELD_OUT = 0.2


def read_archive(path: Path, size: tuple[int, int] | None) -> Dataset:
    """Reads x, y and optionally x_test, y_test from an .npz file; classes are named by their number.

    Raises:
        UsageError: the file cannot be read, lacks an array, or holds arrays that are no `ImageSet`.
    """
    arrays = load_arrays(path)
    has_test = bool({"x_test", "y_test"} & arrays.keys())
    needed = ["x", "y", *(["x_test", "y_test"] if has_test else [])]
    if missing := [key for key in needed if key not in arrays]:
        raise UsageError(
            f"{path} lacks {', '.join(missing)}: it holds {', '.join(arrays) or 'nothing'}. "
            "Save it with np.savez(path, x=..., y=...), and x_test=..., y_test=... where there are test images."
        )
    if others := [key for key in arrays if key not in needed]:
        warnings.warn(f"Of {os.fspath(path)!r} these arrays are left out: {', '.join(others[:_NAMED])}.", stacklevel=4)
    train = _from_arrays(arrays["x"], arrays["y"], size)
    if has_test:
        test = _from_arrays(arrays["x_test"], arrays["y_test"], size)
    else:
        train, test = hold_out_test(train, _HELD_OUT)
    num_classes = int(max(train.y.max(), test.y.max())) + 1
    return Dataset(str(path), train, test, tuple(str(label) for label in range(num_classes)))


def read_folder(root: Path, size: tuple[int, int] | None) -> Dataset:
    """Reads root/<class>/<image> or root/{train,test}/<class>/<image>; classes are in alphabetical order.

    Images are what Pillow reads, of several frames the first, in the folder of a class or anywhere below it. What else
    is there but hidden files is left out with a warning. Images have one channel if all of them are grey, three
    otherwise.

    Raises:
        UsageError: a class is empty or unknown to train/, or an image cannot be read, is not 8-bit,
            or differs in shape from another and `size` is not given.
    """
    has_test = (root / "train").is_dir() and (root / "test").is_dir()
    left_out: list[Path] = []
    if has_test:
        left_out += [path for path in _visible(root) if path.name not in ("train", "test")]
    train_files = _files_by_class(root / "train" if has_test else root, left_out)
    test_files = _files_by_class(root / "test", left_out) if has_test else {}
    if left_out:
        warnings.warn(_summary(root, left_out), stacklevel=4)
    class_names = tuple(train_files)
    if extra := sorted(test_files.keys() - train_files.keys()):
        raise UsageError(f"{root / 'test'} has classes that {root / 'train'} lacks: {', '.join(extra)}.")
    paths = [path for files in (*train_files.values(), *test_files.values()) for path in files]
    mode = "L" if all(_mode(path) in _GRAY_MODES for path in paths) else "RGB"
    train = _from_files(root, train_files, class_names, mode, size)
    if has_test:
        test = _from_files(root, test_files, class_names, mode, size)
    else:
        train, test = hold_out_test(train, _HELD_OUT)
    return Dataset(str(root), train, test, class_names)


def _from_arrays(x: np.ndarray, y: np.ndarray, size: tuple[int, int] | None) -> ImageSet:
    if np.issubdtype(x.dtype, np.floating):
        x = x.astype(np.float32)
    if np.issubdtype(y.dtype, np.integer):
        y = as_labels(y)
    data = ImageSet(x, y)
    return ImageSet(resize(data.x, size), data.y)


def _from_files(
    root: Path,
    files_by_class: dict[str, list[Path]],
    class_names: tuple[str, ...],
    mode: str,
    size: tuple[int, int] | None,
) -> ImageSet:
    paths = [path for files in files_by_class.values() for path in files]
    x = stack(resize_each((_pixels(path, mode) for path in paths), size))
    y = [class_names.index(name) for name, files in files_by_class.items() for _ in files]
    return ImageSet(x, np.array(y, np.int32), tuple(path.relative_to(root).as_posix() for path in paths))


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
    except (OSError, SyntaxError, ValueError):
        return False


@functools.cache
def _suffixes() -> frozenset[str]:
    """Returns the suffixes of the files that Pillow reads."""
    Image.init()
    readable = set(Image.OPEN) - set(_UNREADABLE)
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in readable)


def _summary(root: Path, left_out: list[Path]) -> str:
    kinds = Counter("folders" if path.is_dir() else path.suffix.lower() or "without suffix" for path in left_out)
    names = [str(path.relative_to(root)) + "/" * path.is_dir() for path in left_out[:_NAMED]]
    more = [f"{len(left_out) - _NAMED} more"] if len(left_out) > _NAMED else []
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return (
        f"{len(left_out)} entries of {os.fspath(root)!r} are no images of a class and are left out ({counts}): "
        f"{', '.join([*names, *more])}."
    )


def _mode(path: Path) -> str:
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise UsageError(f"Expected 8-bit images. Received mode {image.mode} in {path}: convert it.")
        return image.mode


def _pixels(path: Path, mode: str) -> np.ndarray:
    with _opened(path) as image:
        return np.atleast_3d(np.asarray(image.convert(mode)))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except UsageError:
        raise
    except Exception as error:  # what damaged bytes raise is of a dozen kinds
        raise UsageError(f"Cannot read the image {path}: {error}. Repair or remove it.") from error
