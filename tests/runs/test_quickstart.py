"""The quickstart makes all steps in their order and gives on what they made."""

import pathlib

import pytest
from ml_collections import ConfigDict

from racl_tf.runs import quickstart
from racl_tf.runs.quickstart import Quickstart, run_quickstart


def test_steps_follow_one_another(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    config, made = ConfigDict(), []
    results = {
        "run_search": "genotype",
        "run_training": tmp_path / "train/best.keras",
        "run_evaluation": ("evaluation", "masking"),
        "run_export": (tmp_path / "saved_model", 1e-7),
    }
    for name in results:

        def step(given: ConfigDict, workdir: str, name: str = name) -> object:
            assert given is config
            assert workdir == str(tmp_path)
            made.append(name)
            return results[name]

        monkeypatch.setattr(quickstart, name, step)
    found = run_quickstart(config, str(tmp_path))
    assert made == list(results)
    assert found == Quickstart("genotype", "evaluation", "masking", tmp_path / "saved_model", 1e-7)  # type: ignore[arg-type]
