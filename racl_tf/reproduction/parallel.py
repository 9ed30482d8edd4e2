"""Parts of a reproduction or a study made by several processes, on this machine or on many.

A part is what one system needs. Processes share the folder; the lock of each part's folder lets one make it at a time.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.folder_lock import BusyError
from racl_tf.interruption import INTERRUPTION

T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)
#: How many threads TensorFlow and libraries below it take.
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Shard:
    """A share of the parts: those whose index leaves the remainder `index` - 1 on division by `count`.

    Arguments:
        index: from 1 to `count`.
        count: of all shares.

    >>> Shard.parse("2/3").of("abcdefgh")
    ['b', 'e', 'h']
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard | None:
        """Returns the shard of a text such as "2/8", or None of an empty one.

        Raises:
            UsageError: it is no such text.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not text:
            return None
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"A shard is I/N with I from 1 to N, as in --shard=2/8. Received: {text!r}.")
        return cls(int(match[1]), int(match[2]))

    def of(self, parts: Sequence[T]) -> list[T]:
        """Returns this share of some parts."""
        return list(parts[self.index - 1 :: self.count])

    def make(self, parts: Sequence[Callable[[], object]]) -> None:
        """Makes this share of some parts; one that another process is making is left to it."""
        mine = self.of(parts)
        for part in mine:
            try:
                part()
            except BusyError as error:
                _LOGGER.info("%s It is left to that.", str(error).partition(". ")[0] + ".")
        _LOGGER.info("Share %d of %d is made: %d of %d parts.", self.index, self.count, len(mine), len(parts))


def in_processes(run: Callable[[ConfigDict, str], object], configs: Sequence[ConfigDict], workdir: str) -> None:
    """Runs a step of several configurations at once, each in a process of its own with a share of this machine's cores.

    Arguments:
        run: the step, a function of a module.
        configs: one a process.
        workdir: the folder that they share.

    Raises:
        UsageError: a process failed; what it said is above.
    """
    count, context = len(configs), multiprocessing.get_context("spawn")
    with _threads(max(1, (os.cpu_count() or 1) // count)):
        workers = [
            context.Process(target=_work, args=(run, config, workdir, f"[{index}/{count}]"))
            for index, config in enumerate(configs, start=1)
        ]
        for worker in workers:
            worker.start()
    try:
        for worker in workers:
            worker.join()
    finally:
        INTERRUPTION.stop_raising()  # or an interruption would come again while the first worker saves
        for worker in workers:
            worker.terminate()  # SIGTERM, by which it saves
        for worker in workers:
            worker.join()
    failed = sum(worker.exitcode != 0 for worker in workers)
    if failed:
        raise UsageError(f"{failed} of {count} processes failed, as said above. The same command continues.")


def _work(run: Callable[[ConfigDict, str], Any], config: ConfigDict, workdir: str, title: str) -> None:
    logger, handler = logging.getLogger("racl_tf"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{title} %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    with INTERRUPTION.handling() as interruption:
        try:
            run(config, workdir)
        except UsageError as error:
            print(f"{title} Error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            interruption.stop_raising()
            sys.exit(interruption.status)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
