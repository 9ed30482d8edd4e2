"""Parts made by several processes are made once each, and the page is the same."""

import os
import pathlib
import signal
import threading
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.folder_lock import FolderLock
from racl_tf.interruption import INTERRUPTION
from racl_tf.reproduction.parallel import Shard, in_processes
from racl_tf.reproduction.runs import run_reproduction, shards
from racl_tf.settings import DATASETS, SMOKE, paper_settings
from racl_tf.space import Genotype


@given(st.integers(1, 12), st.integers(0, 40))
def test_shares_are_all_parts_once(count: int, parts: int) -> None:
    shares = [Shard(index, count).of(range(parts)) for index in range(1, count + 1)]
    assert sorted(part for share in shares for part in share) == list(range(parts))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "1/2/3", "-1/2", "1/9999999"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match=r"A shard is I/N with I from 1 to N, as in --shard=2/8\. Received: "):
        Shard.parse(text)


def test_a_part_that_another_process_makes_is_left_to_it(tmp_path: pathlib.Path) -> None:
    made: list[int] = []

    def make(part: int) -> None:
        folder = tmp_path / str(part)
        folder.mkdir(exist_ok=True)
        with FolderLock(folder):
            made.append(part)

    (tmp_path / "1").mkdir()
    with FolderLock(tmp_path / "1"):
        Shard(1, 1).make([partial(make, part) for part in range(3)])
    assert made == [0, 2]


def note(config: ConfigDict, workdir: str) -> None:
    """What a process of the tests does."""
    if config.shard == "2/2" and config.fails:
        raise UsageError("the second fails")
    name = config.shard.replace("/", "_")
    (pathlib.Path(workdir) / name).write_text(os.environ["TF_NUM_INTRAOP_THREADS"])


@pytest.mark.parametrize("fails", [False, True])
def test_each_process_gets_its_share_and_its_threads(
    fails: bool, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configs, before = shards(ConfigDict({"shard": "", "fails": fails}), 2), dict(os.environ)
    if fails:
        with pytest.raises(UsageError, match="1 of 2 processes failed"):
            in_processes(note, configs, str(tmp_path))
        assert "[2/2] Error: the second fails" in capfd.readouterr().err
    else:
        in_processes(note, configs, str(tmp_path))
    assert dict(os.environ) == before
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    assert written == {"1_2": threads} | ({} if fails else {"2_2": threads})


def linger(config: ConfigDict, workdir: str) -> None:
    """A process that takes longer to save than interruptions wait before they come again."""
    path = pathlib.Path(workdir) / config.shard.replace("/", "_")
    path.write_text("begun")
    try:
        time.sleep(120)
    except KeyboardInterrupt:
        INTERRUPTION.stop_raising()
        time.sleep(2)
        path.write_text("saved")
        raise


def test_an_interruption_reaches_every_process_and_waits_until_all_have_saved(tmp_path: pathlib.Path) -> None:
    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    configs = shards(ConfigDict({"shard": ""}), 2)
    threading.Thread(target=interrupt, daemon=True).start()
    with INTERRUPTION.handling(), pytest.raises(KeyboardInterrupt):
        in_processes(linger, configs, str(tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"1_2": "saved", "2_2": "saved"}


def test_the_page_is_the_same(tmp_path: pathlib.Path) -> None:
    """Of drawings whose cells are drawn at random, so that nothing is trained; the second process finds them made."""
    digits = paper_settings()
    digits.update_from_flattened_dict({**DATASETS["digits"], **SMOKE, "search.mode": "random"})
    networks: tuple[str, ...] = ()
    for index in range(3):
        path = tmp_path / f"{index}.json"
        Genotype.from_text(
            "normal: skip_connect<-0 skip_connect<-1 -> concat 2 reduce: max_pool_3x3<-0 skip_connect<-1 -> concat 2"
        ).save(path)
        networks += (f"cell {index}={path}",)
    pages = []
    for jobs in (1, 2):
        values = {
            "exhibits": ("figure2",),
            "datasets": ("digits",),
            "networks": networks,
            "jobs": jobs,
            "shard": "",
            "launcher": "processes",
        }
        (page,) = run_reproduction(ConfigDict(values | {"digits": digits}), str(tmp_path / f"run{jobs}"))
        pages.append({path.name: path.read_bytes() for path in page.parent.iterdir() if path.is_file()})
    assert pages[0] == pages[1]
