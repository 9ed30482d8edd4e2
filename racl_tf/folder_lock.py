"""One writer a folder: who works in it holds its lock, and whoever comes second is told who that is."""

from __future__ import annotations

import datetime
import json
import logging
import os
import pathlib
import socket
from typing import Self

from racl_tf.errors import UsageError

LOCK = ".lock"
"""The file that is locked; it stays, and means nothing where no process holds it."""

WRITER = ".writer.json"
"""Who holds it."""

_LOGGER = logging.getLogger(__name__)


class BusyError(UsageError):
    """A folder that another process writes."""


class FolderLock:
    """The right to write into a folder, which one process at a time has. Readers need none.

    The operating system gives the lock up with the process that holds it, however that ends.

    Arguments:
        folder: there already.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        import filelock  # here, since a program that only says its help needs none

        self.folder = folder
        self._timeout = filelock.Timeout
        self._lock = filelock.FileLock(folder / LOCK, timeout=0)

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            BusyError: another process, or another part of this one, has it.
        """
        if self._lock.is_locked:
            return
        try:
            self._lock.acquire()
        except self._timeout:
            raise BusyError(
                f"{str(self.folder)!r} is being written by {self._writer()}. Wait for it or end it, or choose another "
                "--workdir."
            ) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, PermissionError) or not self.folder.is_dir():
                raise
            _LOGGER.warning("%r cannot be locked (%s): let no second process write it.", str(self.folder), error)
            return
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        holder = {"host": socket.gethostname(), "process": os.getpid(), "since": now}
        (self.folder / WRITER).write_text(json.dumps(holder) + "\n", encoding="utf-8")

    def release(self) -> None:
        """Gives the lock up, if it is held."""
        if self._lock.is_locked:
            (self.folder / WRITER).unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _writer(self) -> str:
        try:
            holder = json.loads((self.folder / WRITER).read_text(encoding="utf-8"))
            return f"process {holder['process']} on {holder['host']}, since {holder['since']}"
        except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or ended
            return "another process"
