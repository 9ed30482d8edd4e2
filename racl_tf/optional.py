"""Packages that a few functions need and an installation need not have."""

import importlib
from types import ModuleType

from racl_tf.errors import UsageError


def require(module: str, package: str, purpose: str) -> ModuleType:
    """Returns a module of a package that is not installed with this one.

    Arguments:
        module: to import.
        package: that it is installed by.
        purpose: what it is needed for, as the beginning of a sentence.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{purpose} needs {package}: {error}. Run: pip install {package}") from None
