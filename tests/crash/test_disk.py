"""A disk that fills up or may not be written ends a program in one paragraph, and the same command goes on."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A disk of 80 kB, on which a run begins and its first network does not fit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=80k", "tmpfs", str(folder)):
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_and_one_that_may_not_be_written(disk: pathlib.Path) -> None:
    settings = ["--config=digits:smoke", "--network=racl", "--config.train.cells=1", f"--workdir={disk}/run"]
    command = [sys.executable, str(ROOT / "bin/train.py"), *settings]

    def train() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def said(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        return " ".join(done.stderr.partition("Error: ")[2].split())

    assert "No space left on device" in said(train())
    assert mount("-o", "remount,ro", str(disk))
    assert "Read-only file system" in said(train())
    assert mount("-o", "remount,rw,size=64m", str(disk))
    done = train()
    assert done.returncode == 0, done.stderr
    assert (disk / "run/train/finished.json").exists()
    assert not list(disk.rglob(".unfinished*"))
