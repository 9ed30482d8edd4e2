"""How much memory there is, how much of it this process may still take, and what it gives back."""

import contextlib
import gc
import math
import os
import pathlib
import re
from collections.abc import Iterator

_CGROUP = pathlib.Path("/sys/fs/cgroup")


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
