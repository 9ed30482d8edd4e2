"""How much memory there is, how much of it this process may still take, and what it gives back."""

import contextlib
import gc
import math
import os
import pathlib
import re
import sys
from collections.abc import Iterator

_CGROUP = pathlib.Path("/sys/fs/cgroup")
_LIBRARIES = {"tensorflow", "tensorflow_probability", "keras", "racl_tf", "absl", *sys.stdlib_module_names}


@contextlib.contextmanager
def released_graphs() -> Iterator[None]:
    """Lets go of graphs that were traced within, which TensorFlow keeps for as long as the process lives.

    It registers the gradient of every sum over replicas, which each of Keras's optimizers takes, and of every other
    custom gradient, by a name of its own, with the graph that it is of: dozens to hundreds of MiB a training. What is
    traced within can be called afterwards, but not differentiated any more.
    """
    from tensorflow.python.framework import ops  # which those that only ask for memory need not wait for

    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})  # no public name leads there
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name.startswith("CustomGradient-") and name not in before]:
            del registry[name]
        gc.collect()


@contextlib.contextmanager
def short_stacks() -> Iterator[None]:
    """Has operations of graphs traced within remember where in the user's code they were made; a decorator too.

    TensorFlow keeps the stack of each operation as text, several times over: some 80 frames, a third of the memory that
    a search's graphs take. Those of TensorFlow, Keras, absl, this package and Python's own modules are left out.
    """
    import tensorflow as tf

    stack_filter = None if tf.executing_eagerly() else _stack_filter()
    with stack_filter or contextlib.nullcontext():
        yield


def _stack_filter() -> contextlib.AbstractContextManager[object] | None:
    """Returns TensorFlow's filter of frames, for those of libraries; None if it has none."""
    try:
        from tensorflow.python.framework import ops  # no public name leads to these
        from tensorflow.python.util import tf_stack
    except ImportError:
        return None
    files = frozenset(
        file
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in _LIBRARIES and (file := getattr(module, "__file__", None))
    ) - {ops.__file__, tf_stack.__file__}  # the innermost frames, which TensorFlow leaves out by their number

    class LibraryFilter(tf_stack.StackTraceFilter):
        def get_filtered_filenames(self) -> frozenset[str]:
            return files

    return LibraryFilter()


def machine_memory() -> int:
    """Returns the bytes of memory of this machine, or of this container if it may have less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, _container_limit() or whole)


def available_memory() -> float:
    """Returns the bytes that this process may still take before others, its container or its limits stand in the way.

    What the system does not say does not count; on Windows, which says nothing, they are infinite.
    """
    if os.name == "nt":
        return math.inf
    import resource  # which Windows has not

    amounts = [machine_memory()]
    if (free := _read(pathlib.Path("/proc/meminfo"), r"MemAvailable:\s+(\d+) kB")) is not None:
        amounts.append(1024 * free)
    if limit := _container_limit():
        taken = _read(_CGROUP / "memory.current", r"(\d+)") or 0
        of_files = _read(_CGROUP / "memory.stat", r"^file (\d+)") or 0  # which are given up for others
        amounts.append(limit - taken + of_files)
    for limit_kind, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(limit_kind)[0]
        if limit != resource.RLIM_INFINITY:
            amounts.append(limit - (process_memory(name) or 0))
    return max(0, min(amounts))


def process_memory(name: str) -> int | None:
    """Returns what of this process's memory Linux notes under a name such as VmRSS, in bytes; None elsewhere."""
    kilobytes = _read(pathlib.Path("/proc/self/status"), rf"{name}:\s+(\d+) kB")
    return None if kilobytes is None else 1024 * kilobytes


def _container_limit() -> int | None:
    return _read(_CGROUP / "memory.max", r"(\d+)")


def _read(path: pathlib.Path, pattern: str) -> int | None:
    """Returns the first number of a pattern in a file of the system; None where there is no such file or number."""
    match = re.search(pattern, path.read_text(), re.MULTILINE) if path.exists() else None
    return int(match[1]) if match else None
