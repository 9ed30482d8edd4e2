"""How much memory this machine has, and how much of it this process may still take."""

import math
import os
import pathlib
import re

_CGROUP = pathlib.Path("/sys/fs/cgroup")


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
