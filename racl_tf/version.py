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
    """Returns what a run was made by, as versions.json records it: libraries, Python, the machine and what computes.

    With other threads or kernels the same run rounds differently, which a search may amplify.
    """
    import importlib.metadata
    import os
    import platform

    import tensorflow as tf

    threading = tf.config.threading
    return {name: importlib.metadata.version(name) for name in _DISTRIBUTIONS} | {
        "racl_tf": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": str(os.cpu_count()),
        "threads": f"{threading.get_intra_op_parallelism_threads()} within operations, "
        f"{threading.get_inter_op_parallelism_threads()} between (0: as many as cores)",
        "oneDNN": {"1": "on", "0": "off"}.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""), "by the processor"),
    }
