"""The version, read by setup.py, and those of the libraries that results depend on.

Importing this costs nothing: what a function needs is imported when it is called.
"""

__version__ = "0.1.0"

_DISTRIBUTIONS = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")


def library_versions() -> dict[str, str]:
    """Returns the versions that figures depend on, by library, as results.json records them."""
    import keras
    import tensorflow as tf

    return {"racl_tf": __version__, "tensorflow": tf.__version__, "keras": keras.__version__}


def run_versions() -> dict[str, str]:
    """Returns what a run was made by, as versions.json records it: libraries, Python and the machine."""
    import importlib.metadata
    import platform

    return {name: importlib.metadata.version(name) for name in _DISTRIBUTIONS} | {
        "racl_tf": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
