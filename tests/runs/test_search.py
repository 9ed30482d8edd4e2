"""A search on the digits, interrupted and continued."""

import json
import pathlib

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.files import read_table
from racl_tf.runs import search as search_run
from racl_tf.runs.search import run_search


class Interruption(keras.callbacks.Callback):
    """Stands in for a user who presses Ctrl-C in the second epoch."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_search_ends_like_an_uninterrupted_one(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.search.warmup_epochs = 0
    whole = run_search(config, str(tmp_path / "whole"))

    with monkeypatch.context() as patch:
        patch.setattr(search_run.callbacks, "StopOnDivergence", Interruption)
        with pytest.raises(KeyboardInterrupt):
            run_search(config, str(tmp_path / "parts"))
    assert not (tmp_path / "parts/search/genotype.json").exists()
    assert run_search(config, str(tmp_path / "parts")) == whole

    for name in ("steps.csv", "history.csv"):
        one, other = (read_table(tmp_path / run / "search" / name) for run in ("whole", "parts"))
        assert len(one) == len(other)
        for row, same in zip(one, other, strict=True):
            for column in row.keys() - {"seconds"}:
                np.testing.assert_allclose(float(row[column]), float(same[column]), rtol=1e-3, atol=1e-5)
    lines = (tmp_path / "parts/search/architecture.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
