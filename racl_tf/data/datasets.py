"""Datasets by name: digits that come with the package, TFDS, folders of images and .npz archives, all as one value."""

import functools
import hashlib
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from racl_tf.data.files import MAX_PIXELS, image_files, read_archive, read_folder
from racl_tf.data.image_set import Dataset, ImageSet
from racl_tf.data.image_storage import ImageStorage, stamp_of
from racl_tf.data.resizing import ImageSize, height_and_width, resize
from racl_tf.data.splits import hold_out_test, subset
from racl_tf.data.tfds_source import WELL_KNOWN, read_tfds
from racl_tf.errors import UsageError
from racl_tf.files import as_path

_DIGITS = Path(__file__).with_name("digits.csv.gz")
_MOST_READ = 2**30  # bytes of a folder's images that a digest of its content is made of


def load_dataset(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    image_size: ImageSize | None = None,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
    in_memory: bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads an image classification dataset into memory or, where it does not fit, into files that are mapped into it.

    A source without test images has some of its training images held out for that, stratified and
    the same for every `seed`: 10% of a TFDS set that has no `validation` split either, 20% otherwise.

    Arguments:
        name: "digits" (8x8, comes with racl_tf), "mnist", "cifar10", "cifar100" or another TFDS
            image classification set, downloaded where it is absent; a folder with one sub-folder of
            images per class, or with such folders in train/ and test/; or an .npz file with x, y and
            optionally x_test, y_test as in `ImageSet`.
        data_dir: where TFDS keeps its sets; TFDS's default if not given.
        train_size: how many training images to keep, stratified; all if not given.
        test_size: how many test images to keep, stratified; all if not given.
        image_size: the side, or height and width, in pixels that images are resized to.
        seed: the seed of the choice that `train_size` and `test_size` make.
        max_pixels: the most pixels of an image in a folder, since small files can be made to fill the memory.
        in_memory: whether images are held in memory. Otherwise they are decoded once into a file that is read as if
            it were in memory, as fast where there is room for it, and give the same batches. If None, what takes at
            most half of the available memory is held there.
        cache_dir: where such files are kept; in the user's folder of caches if not given.

    Raises:
        UsageError: the name is unknown, a download fails, or the images or sizes are unusable.

    >>> digits = load_dataset("digits", train_size=100)
    >>> digits.input_shape, digits.num_classes, len(digits.train), len(digits.test)
    ((8, 8, 1), 10, 100, 359)
    """
    folder = None if data_dir is None else str(as_path(data_dir))
    dataset = _read(os.fspath(name), folder, height_and_width(image_size), max_pixels, in_memory, cache_dir)
    return replace(
        dataset,
        train=_limited(dataset.train, train_size, seed),
        test=_limited(dataset.test, test_size, seed),
    )


def _read(
    name: str,
    data_dir: str | None,
    size: tuple[int, int] | None,
    max_pixels: int,
    in_memory: bool | None,
    cache_dir: str | os.PathLike[str] | None,
) -> Dataset:
    if name == "digits":
        return _read_digits(size)
    if (path := own_files(name)) is None:
        return read_tfds(name, data_dir, size, in_memory, cache_dir)
    storage = ImageStorage(name, path, size, in_memory, cache_dir)
    try:
        return read_archive(path, storage) if path.suffix == ".npz" else read_folder(path, storage, max_pixels)
    except OSError as error:  # of a folder that may not be listed, say
        raise UsageError(f"Cannot read the data set {name!r}: {error}.") from None


def own_files(name: str) -> Path | None:
    """Returns the path that a data set's name is, of an archive or a folder; None where it is a name."""
    path = as_path(name)
    return path if path.suffix == ".npz" or (name not in WELL_KNOWN and path.is_dir()) else None


def content_digest(name: str) -> str | None:
    """Returns a text that differs where a data set's files do; None for sets by name, which do not change under it.

    Of an archive it is made of all bytes; of a folder of the names and sizes of all images, and of the bytes of all if
    these are at most 1 GiB, else of as many, evenly chosen by their order, as are expected to have that.

    Raises:
        UsageError: a file cannot be read.
    """
    path = own_files(name)
    if path is None or not path.exists():
        return None
    try:
        files = [path] if path.is_file() else sorted(image_files(path))
        return _content_digest(path, tuple(files), stamp_of(files))
    except OSError as error:
        raise UsageError(f"Cannot read the data set {name!r}: {error}.") from None


@functools.lru_cache(maxsize=2)  # for the steps and networks that follow
def _content_digest(root: Path, files: tuple[Path, ...], stamp: str) -> str:
    sizes = [file.stat().st_size for file in files]
    every = max(1, math.ceil(sum(sizes) / _MOST_READ)) if root.is_dir() else 1
    digest = hashlib.sha256()
    for number, (file, size) in enumerate(zip(files, sizes, strict=True)):
        digest.update(f"{file.relative_to(root).as_posix()} {size}\n".encode(errors="surrogateescape"))
        if not number % every:
            with open(file, "rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _read_digits(size: tuple[int, int] | None) -> Dataset:
    """Returns the 1,797 test images of Alpaydin and Kaynak's handwritten digits (https://doi.org/10.24432/C50P49)."""
    rows = np.loadtxt(_DIGITS, np.float32, delimiter=",")  # of 64 pixels from 0 to 16 and the digit
    x = resize(rows[:, :-1].reshape(-1, 8, 8, 1) / 16, size)
    train, test = hold_out_test(ImageSet(x, rows[:, -1].astype(np.int32)), 0.2)
    return Dataset("digits", train, test, tuple(str(digit) for digit in range(10)))


def _limited(data: ImageSet, size: int | None, seed: int) -> ImageSet:
    return data if size is None else subset(data, size, seed=seed)
