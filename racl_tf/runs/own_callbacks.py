"""A user's own Keras callbacks in a search or a training: trackers, pruners, whatever is told of epochs."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import keras
from ml_collections import ConfigDict

from racl_tf.errors import UsageError


def load_callbacks(config: ConfigDict) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that `config.callbacks`, "module:function", makes of the run's settings; none if it is "".

    The module is imported from Python's own path or the folder that the program is run in. The function is called with
    a copy of all settings, before the run's folder is begun, and returns a Keras callback or a list of them.

    Arguments:
        config: the run's configuration.

    Raises:
        UsageError: there is no such module or function, it fails, or returns something else.
    """
    if not config.callbacks:
        return []
    function = _function(config.callbacks)
    try:
        made = function(config.copy_and_resolve_references())
    except UsageError:
        raise
    except Exception as error:  # of the user's own code
        raise UsageError(
            f"The function of callbacks={config.callbacks!r} failed: {type(error).__name__}: {error}."
        ) from error
    found = list(made) if isinstance(made, list | tuple) else [made]
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise UsageError(
                f"The function of callbacks={config.callbacks!r} must return a keras.callbacks.Callback or a list of "
                f"them. Received: {type(callback).__name__}."
            )
    return found


def _function(name: str) -> Callable[[ConfigDict], Any]:
    """Returns the function of "module:function"."""
    module_name, colon, function_name = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), function_name)):
        raise UsageError(
            f"callbacks must be module:function, such as tracking:make_callbacks. Received: callbacks={name!r}."
        )
    here = os.getcwd()
    sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's own module raises
        raise UsageError(
            f"The module of callbacks={name!r} cannot be imported: {type(error).__name__}: {error}. Run the program in "
            "its folder, or put that folder on PYTHONPATH."
        ) from error
    finally:
        sys.path.remove(here)
    function = getattr(module, function_name, None)
    if not callable(function):
        there = ", ".join(sorted(key for key, value in vars(module).items() if callable(value) and key[0] != "_"))
        raise UsageError(
            f"There is no function {function_name!r} in the module {module_name!r}. It has: {there or 'none'}."
        )
    return function
