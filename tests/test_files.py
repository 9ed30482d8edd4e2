"""A file is the old one or the new one, never half of either."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.evaluation import load_classifier
from racl_tf.export import export_saved_model
from racl_tf.files import as_path, as_tensorflow_path, read_json_lines, whole, whole_folder, write_json, write_text
from racl_tf.runs.folder import StepFolder
from racl_tf.settings import paper_settings


def test_json_holds_what_was_written(tmp_path) -> None:
    path = tmp_path / "runs" / "a" / "results.json"
    write_json(path, {"count": np.int64(3), "share": np.float32(0.5), "row": np.arange(2), "interval": (0.0, 1.0)})
    assert json.loads(path.read_text()) == {"count": 3, "share": 0.5, "row": [0, 1], "interval": [0.0, 1.0]}


def test_json_lines_are_objects(tmp_path) -> None:
    path = tmp_path / "architecture.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    assert read_json_lines(path) == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("text", [b'{"epoch": 1}\n{"epo', b'{"epoch": 1}\n[2]\n', b"\xff", b"[" * 100_000])
def test_damaged_json_lines_are_refused(tmp_path, text) -> None:
    path = tmp_path / "architecture.jsonl"
    path.write_bytes(text)
    with pytest.raises(UsageError, match=r"architecture\.jsonl.* is damaged"):
        read_json_lines(path)


def test_a_failure_leaves_the_old_file_alone(tmp_path, monkeypatch) -> None:
    path = tmp_path / "history.txt"
    write_text(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["history.txt"]
    monkeypatch.undo()
    write_text(path, "new")
    assert path.read_text() == "new"


_WRITER = """
import sys, time
from racl_tf.files import whole, whole_folder

with whole(sys.argv[1] + "/best.keras") as file, whole_folder(sys.argv[1] + "/saved_model") as folder:
    file.write_text("half")
    folder.mkdir()
    (folder / "variables").write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""


def _write_both(folder: pathlib.Path) -> None:
    with whole(folder / "best.keras") as path:
        path.write_text("whole")
    with whole_folder(folder / "saved_model") as path:
        path.mkdir()
    (folder / "saved_model").rmdir()


def test_what_a_killed_process_left_is_removed_but_not_what_another_writes(tmp_path) -> None:
    root = pathlib.Path(__file__).parents[1]
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        begun = set(os.listdir(tmp_path))
        assert len(begun) == 2
        (tmp_path / ".unfinished-notes-best.keras").write_text("a user's")
        _write_both(tmp_path)
        assert set(os.listdir(tmp_path)) == {*begun, "best.keras", ".unfinished-notes-best.keras"}
    finally:
        writer.kill()
        writer.wait()
    _write_both(tmp_path)
    assert set(os.listdir(tmp_path)) == {"best.keras", ".unfinished-notes-best.keras"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nobody-at-all/run", "There is no home folder for '~nobody-at-all/run'"),
        ("x" * 300, ": File name too long"),
        ("runs/" + "x/" * 3000, ": File name too long"),
        ("a\0b", ": embedded null byte"),
        ("run\udcff", "is not UTF-8"),
    ],
)
def test_what_cannot_be_a_path_is_refused(path, message) -> None:
    with pytest.raises(UsageError, match=message):
        as_path(path)


def test_other_paths_are_taken_whether_there_is_something_or_not(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert as_path("~/a") == tmp_path / "a"
    assert as_path(tmp_path / "ä [1] $x" / "y").name == "y"


@pytest.mark.parametrize("name", ["a[b]", "a\\b", "a*", "a?"])
def test_tensorflow_gets_no_path_that_it_takes_for_a_pattern(name, tmp_path) -> None:
    """Checkpoints and SavedModels below it would be written, but not found again."""
    with pytest.raises(UsageError, match=r"takes . for a pattern"):
        as_tensorflow_path(tmp_path / name)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match=r"takes . for a pattern"):
        export_saved_model(model, tmp_path / name / "model")
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"takes . for a pattern"):
        load_classifier(tmp_path / name)
    with pytest.raises(UsageError, match=r"takes . for a pattern"):
        StepFolder(str(tmp_path / name), "search", paper_settings(), ("attack", "search"))
    model.save(tmp_path / name / "model.keras")
    assert load_classifier(tmp_path / name / "model.keras").logits(np.zeros((1, 4, 4, 1), np.float32)).shape == (1, 2)
