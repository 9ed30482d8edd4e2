"""A file is the old one or the new one, never half of either."""

import json
import os

import numpy as np
import pytest

from racl_tf.files import write_json, write_text


def test_json_holds_what_was_written(tmp_path) -> None:
    path = tmp_path / "runs" / "a" / "results.json"
    write_json(path, {"count": np.int64(3), "share": np.float32(0.5), "row": np.arange(2), "interval": (0.0, 1.0)})
    assert json.loads(path.read_text()) == {"count": 3, "share": 0.5, "row": [0, 1], "interval": [0.0, 1.0]}


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
