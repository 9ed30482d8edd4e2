"""Where decoded images are kept: in memory or, where that is too small, in files that are mapped into it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import PIL
import tensorflow as tf

from racl_tf.data.image_set import ImageSet
from racl_tf.data.resizing import of_one_shape, stack
from racl_tf.errors import UsageError
from racl_tf.files import UNFINISHED, as_path, short_digest, slug, sync, whole_folder
from racl_tf.memory import available_memory
from racl_tf.version import __version__

_LOGGER = logging.getLogger(__name__)
_SHARE = 0.5  # of the available memory that images of a split may take
_IMAGES, _LABELS = "images.npy", "labels.npy"
_LETTERS = 40  # of a data set's name in that of a folder, which a digest tells apart


@dataclass(frozen=True)
class ImageStorage:
    """Where the images of a data set are kept once they are decoded and resized.

    In memory, or mapped: written once to a folder of `cache_dir`, whose file is then read as if it were in memory,
    while the system keeps as much of it there as it has room for. What is read is the same bit for bit. The folder's
    name holds a digest of the names, sizes and times of the files that the images are from, so that a changed data set
    is decoded anew; the folder of what it was before is removed. An interruption leaves none that is taken for whole.

    Arguments:
        name: of the data set, for people.
        origin: the file or folder that its images are from.
        size: (height, width) that images are resized to, or None.
        in_memory: whether they are held in memory; if None, where they take at most half of what is available.
        cache_dir: the folder of mapped images; that of this library among a user's caches if not given.
    """

    name: str
    origin: str | os.PathLike[str]
    size: tuple[int, int] | None
    in_memory: bool | None = None
    cache_dir: str | os.PathLike[str] | None = None

    def fits(self, size: int) -> bool:
        """Returns whether `size` bytes of images are to be held in memory."""
        return size <= _SHARE * available_memory() if self.in_memory is None else self.in_memory

    @property
    def folder(self) -> pathlib.Path:
        """The folder of mapped images."""
        return as_path(self.cache_dir or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "racl_tf")

    def keep(
        self,
        split: str,
        images: Iterable[np.ndarray],
        labels: Sequence[int] | np.ndarray,
        count: int,
        stamp: Callable[[], str],
        files: tuple[str, ...] | None = None,
    ) -> ImageSet:
        """Returns images and labels as a set.

        Arguments:
            split: which part of the data set they are.
            images: `count` of one shape, uint8 or float32; read once, or not at all where they are kept already.
            labels: one for each image, complete when all images have been read.
            count: how many there are.
            stamp: returns what differs where the files have changed that the images are from (see `stamp_of`).
            files: as in `ImageSet`.

        Raises:
            UsageError: the images differ in shape, there are none, they change while they are read, or they neither fit
                into memory nor can be written.
        """
        images = of_one_shape(images)
        if self.in_memory is not False:
            first = next(images)
            images = chain([first], images)
            if self.fits(count * first.nbytes):
                return ImageSet(stack(images, count), np.array(labels, np.int32), files)
        origin = f"{os.path.realpath(self.origin)} {split} {self.size}"
        name = f"{slug(pathlib.Path(self.name).stem, _LETTERS)}-{split}-{short_digest(origin.encode(errors='replace'))}"
        folder = self.folder / f"{name}-{stamp()}"
        try:
            kept = _load(folder) or self._write(folder, name, images, labels, count, stamp)
        except OSError as error:
            raise UsageError(
                f"The images of {self.name!r} are not to be held in memory, and cannot be kept in "
                f"{os.fspath(self.folder)!r}: {error}. Choose another folder by data.cache_dir, or set "
                "data.in_memory=true (in Python cache_dir and in_memory)."
            ) from None
        return ImageSet(*kept, files)

    def _write(
        self,
        folder: pathlib.Path,
        name: str,
        images: Iterator[np.ndarray],
        labels: Sequence[int] | np.ndarray,
        count: int,
        stamp: Callable[[], str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Writes images and labels to a folder, which others see once it is whole, and returns them from there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _alone(self.folder / f"{name}.lock") as is_alone:
            if kept := _load(folder):  # another process has just written it
                return kept
            if is_alone:
                for old in (*self.folder.glob(f"{name}-*"), *self.folder.glob(f"{UNFINISHED}*-{name}-*")):
                    shutil.rmtree(old, ignore_errors=True)
            first = next(images)
            self._check_space(count * first.nbytes)
            with whole_folder(folder) as unfinished:
                unfinished.mkdir()
                self._write_images(unfinished / _IMAGES, chain([first], images), first, count)
                np.save(unfinished / _LABELS, np.array(labels, np.int32))
                for path in (unfinished / _IMAGES, unfinished / _LABELS, unfinished):
                    sync(path)
                if not folder.name.endswith(stamp()):
                    raise UsageError(f"The files of {self.name!r} changed while they were read. Run it again.")
        kept = _load(folder)
        if kept is None:
            raise OSError("what was written there cannot be read")
        return kept

    def _write_images(self, path: pathlib.Path, images: Iterable[np.ndarray], like: np.ndarray, count: int) -> None:
        _LOGGER.info(
            "%s images of %r, %.1f GB once decoded, are written to %s and read from there; this is done once.",
            f"{count:,}",
            self.name,
            count * like.nbytes / 1e9,
            self.folder,
        )
        header = {"descr": like.dtype.str, "fortran_order": False, "shape": (count, *like.shape)}
        with open(path, "wb") as file:  # not through a map: a full disk would end the process in place of raising
            np.lib.format.write_array_header_1_0(file, header)
            written = 0
            for image in images:
                file.write(np.ascontiguousarray(image, like.dtype).data)
                written += 1
        if written != count:
            raise UsageError(f"{self.name!r} should have {count} images, but only {written} of them can be read.")

    def _check_space(self, needed: int) -> None:
        if (free := shutil.disk_usage(self.folder).free) < needed:
            raise OSError(f"they take {needed / 1e9:.1f} GB and there are {free / 1e9:.1f} GB free")


def stamp_of(paths: Iterable[pathlib.Path], *settings: object) -> str:
    """Returns a text that differs where files have been changed, renamed, added or removed since.

    It is made of their names, sizes and times, not of their content, which takes as long to read as to decode.

    Arguments:
        paths: of the files, in their order.
        settings: what else decoded images depend on.
    """
    digest = hashlib.sha256(f"{__version__} {PIL.__version__} {tf.__version__} {settings}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()[:16]


def _load(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the images, mapped, and labels of a folder; None if it is not there or damaged."""
    try:
        images, labels = np.load(folder / _IMAGES, mmap_mode="r"), np.load(folder / _LABELS)
        size = (folder / _IMAGES).stat().st_size
    except (OSError, ValueError):
        return None
    is_whole = size == images.offset + math.prod(images.shape) * images.dtype.itemsize
    return (images, labels) if is_whole else None


@contextlib.contextmanager
def _alone(path: pathlib.Path) -> Iterator[bool]:
    """Waits until no other process holds a lock and holds it; gives whether files can be locked there at all."""
    import filelock

    lock = filelock.FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            _LOGGER.info("Another process is writing the same images; they are waited for.")
            lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        _LOGGER.warning("%s cannot be locked (%s).", path, error)
    try:
        yield lock.is_locked
    finally:
        lock.release()
