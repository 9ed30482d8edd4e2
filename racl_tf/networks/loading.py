"""Trained networks from files."""

import os
import zipfile

import keras

from racl_tf.errors import UsageError, shortened
from racl_tf.files import as_path


def load_network(path: str | os.PathLike[str]) -> keras.Model:
    """Returns the Keras model in a `.keras` or `.h5` file, of one of this package's networks or any other.

    Raises:
        UsageError: there is none in it, or the file is damaged.
    """
    path = as_path(path)
    if path.suffix not in (".keras", ".h5"):
        raise UsageError(
            f"{os.fspath(path)!r} is no model. Give a .keras file, an .h5 file or the folder of a SavedModel."
        )
    if path.suffix == ".keras" and path.is_file() and not zipfile.is_zipfile(path):
        raise UsageError(f"{os.fspath(path)!r} is damaged or no .keras file. Save the model again.")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # what damaged bytes and unknown layers raise is of a dozen kinds
        innermost = str(error).rpartition("Exception encountered:")[2].partition("Full object config")[0]
        reason = " ".join(innermost.split()) or type(error).__name__
        raise UsageError(
            f"{os.fspath(path)!r} cannot be loaded as a Keras model: {shortened(reason, 500)} Import the code of its "
            "own layers first, save it again if it is damaged, or give it as a SavedModel, which needs no code."
        ) from None
