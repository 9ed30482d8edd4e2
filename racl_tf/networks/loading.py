"""Trained networks from files."""

import os
import pathlib
import zipfile

import keras

from racl_tf.errors import UsageError, shortened
from racl_tf.files import as_path

_MOST_TEXT = 2**26  # bytes of an archive's description: that of a large network has some hundred thousand
_FREE, _RATIO = 2**30, 20  # bytes that any archive may unpack to, and by how much larger ones may grow


def load_network(path: str | os.PathLike[str]) -> keras.Model:
    """Returns the Keras model in a `.keras` or `.h5` file, of one of this package's networks or any other.

    It is read in Keras's safe mode, which runs no code that the file may hold.

    Raises:
        UsageError: there is none in it, the file is damaged, it unpacks to far more than it is, or it holds a lambda
            layer.
    """
    path = as_path(path)
    if path.suffix not in (".keras", ".h5"):
        raise UsageError(
            f"{os.fspath(path)!r} is no model. Give a .keras file, an .h5 file or the folder of a SavedModel."
        )
    if path.suffix == ".keras" and path.is_file() and not zipfile.is_zipfile(path):
        raise UsageError(f"{os.fspath(path)!r} is damaged or no .keras file. Save the model again.")
    if path.suffix == ".keras" and path.is_file():
        _check_archive(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # what damaged bytes and unknown layers raise is of a dozen kinds
        innermost = str(error).rpartition("Exception encountered:")[2].partition("Full object config")[0]
        reason = " ".join(innermost.split()) or type(error).__name__
        raise UsageError(
            f"{os.fspath(path)!r} cannot be loaded as a Keras model: {shortened(reason, 500)} Import the code of its "
            "own layers first, save it again if it is damaged, or give it as a SavedModel, which needs no code."
        ) from None


def _check_archive(path: pathlib.Path) -> None:
    """Checks how large the parts of a `.keras` archive are before any is unpacked: Keras unpacks them into memory.

    Raises:
        UsageError: a few bytes unpack to what fills the memory, which no model that Keras saved does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {part.filename: part.file_size for part in archive.infolist()}
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UsageError(f"{os.fspath(path)!r} is damaged: {error}. Save the model again.") from None
    text = max((size for name, size in sizes.items() if name.endswith(".json")), default=0)
    total, most = sum(sizes.values()), max(_FREE, _RATIO * path.stat().st_size)
    if text > _MOST_TEXT or total > most:
        raise UsageError(
            f"{os.fspath(path)!r} unpacks to {total} bytes, {text} of them a description, far more than Keras makes "
            "of a model: it would fill the memory. Get it from elsewhere, or save the model again."
        )
