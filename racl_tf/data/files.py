"""Datasets in the user's own files: folders of images and .npz archives."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from racl_tf.data.image_set import Dataset, ImageSet
from racl_tf.data.resizing import resize, stack
from racl_tf.data.splits import hold_out_test
from racl_tf.errors import UsageError
from racl_tf.files import load_arrays

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
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
    train = _from_arrays(arrays["x"], arrays["y"], size)
    if has_test:
        test = _from_arrays(arrays["x_test"], arrays["y_test"], size)
    else:
        train, test = hold_out_test(train, _HELD_OUT)
    num_classes = int(max(train.y.max(), test.y.max())) + 1
    return Dataset(str(path), train, test, tuple(str(label) for label in range(num_classes)))


def read_folder(root: Path, size: tuple[int, int] | None) -> Dataset:
    """Reads root/<class>/<image> or root/{train,test}/<class>/<image>; classes are in alphabetical order.

    Images have one channel if all of them are grey, three otherwise.

    Raises:
        UsageError: a class is empty or unknown to train/, or an image cannot be read, is not 8-bit,
            or differs in shape from another and `size` is not given.
    """
    has_test = (root / "train").is_dir() and (root / "test").is_dir()
    train_files = _files_by_class(root / "train" if has_test else root)
    test_files = _files_by_class(root / "test") if has_test else {}
    class_names = tuple(train_files)
    if extra := sorted(test_files.keys() - train_files.keys()):
        raise UsageError(f"{root / 'test'} has classes that {root / 'train'} lacks: {', '.join(extra)}.")
    paths = [path for files in (*train_files.values(), *test_files.values()) for path in files]
    mode = "L" if all(_mode(path) in _GRAY_MODES for path in paths) else "RGB"
    train = _from_files(train_files, class_names, mode, size)
    if has_test:
        test = _from_files(test_files, class_names, mode, size)
    else:
        train, test = hold_out_test(train, _HELD_OUT)
    return Dataset(str(root), train, test, class_names)


def _from_arrays(x: np.ndarray, y: np.ndarray, size: tuple[int, int] | None) -> ImageSet:
    if np.issubdtype(x.dtype, np.floating):
        x = x.astype(np.float32)
    if np.issubdtype(y.dtype, np.integer):
        y = y.astype(np.int32)
    data = ImageSet(x, y)
    return ImageSet(resize(data.x, size), data.y)


def _from_files(
    files_by_class: dict[str, list[Path]], class_names: tuple[str, ...], mode: str, size: tuple[int, int] | None
) -> ImageSet:
    x = stack(resize(_pixels(path, mode), size) for files in files_by_class.values() for path in files)
    y = [class_names.index(name) for name, files in files_by_class.items() for _ in files]
    return ImageSet(x, np.array(y, np.int32))


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = {path.name: sorted(file for file in path.iterdir() if _is_image(file)) for path in classes}
    if not all(files.values()) or not files:
        empty = ", ".join(name for name, found in files.items() if not found) or "there are no sub-folders"
        raise UsageError(
            f"Expected {folder} to hold one sub-folder per class with {', '.join(_SUFFIXES)} images in it, or such "
            f"folders in train/ and test/. Without images: {empty}."
        )
    return files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


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
