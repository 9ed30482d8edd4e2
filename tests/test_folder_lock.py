"""One process writes a folder at a time; a dead one holds nobody up."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from racl_tf.errors import UsageError
from racl_tf.folder_lock import WRITER, FolderLock

_HOLDER = """
import pathlib, sys, time
from racl_tf.folder_lock import FolderLock

lock = FolderLock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: pathlib.Path) -> Iterator[subprocess.Popen[str]]:
    root = pathlib.Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_writes(tmp_path: pathlib.Path, holder: subprocess.Popen[str]) -> None:
    expected = f"is being written by process {holder.pid} on {socket.gethostname()}, since 20"
    with pytest.raises(UsageError, match=expected):
        FolderLock(tmp_path).acquire()
    assert json.loads((tmp_path / WRITER).read_text())["process"] == holder.pid


def test_a_killed_process_holds_nobody_up(tmp_path: pathlib.Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.acquire()  # it has it already
    assert json.loads((tmp_path / WRITER).read_text())["process"] == os.getpid()
    lock.release()
    assert not (tmp_path / WRITER).exists()
    lock.release()


def test_of_one_process_too_only_one(tmp_path: pathlib.Path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    (tmp_path / WRITER).write_text("{")  # as it is being written
    with pytest.raises(UsageError, match="is being written by another process"):
        FolderLock(tmp_path).acquire()
    lock.release()
    other = FolderLock(tmp_path)
    other.acquire()
    other.release()
