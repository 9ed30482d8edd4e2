"""The quickstart makes all steps in their order and gives on what they made."""

import pathlib

import pytest
from ml_collections import ConfigDict

from bin import quickstart as program
from racl_tf.runs import quickstart
from racl_tf.runs.export import Exported
from racl_tf.runs.quickstart import Quickstart, run_quickstart
from racl_tf.space import random_genotype


def test_steps_follow_one_another(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    config, made = ConfigDict(), []
    results = {
        "run_search": "genotype",
        "run_training": tmp_path / "train/best.keras",
        "run_evaluation": ("evaluation", "masking"),
        "run_export": {"saved_model": Exported(tmp_path / "saved_model", 1e-7)},
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
    assert found == Quickstart("genotype", "evaluation", "masking", results["run_export"])  # type: ignore[arg-type]


def test_the_program_begins_and_ends_with_what_it_does_and_made(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    genotype = random_genotype(0)
    for name in ("run_search", "run_training"):
        monkeypatch.setattr(quickstart, name, lambda *_: genotype)
    monkeypatch.setattr(quickstart, "run_evaluation", lambda *_: ("the table", None))
    monkeypatch.setattr(quickstart, "run_export", lambda *_: {"saved_model": Exported(tmp_path / "saved_model", 1e-7)})
    (tmp_path / "saved_model").mkdir()
    with caplog.at_level("INFO", "racl_tf"):
        program.quickstart(ConfigDict(), str(tmp_path))
    assert f"Quickstart in {tmp_path}: a search, a training" in caplog.text
    shown = capsys.readouterr().out
    assert "the table\nSigns of gradient masking were not looked for.\n" in shown
    assert f"Written to {tmp_path}/: saved_model\n" in shown
    assert f"{tmp_path}/saved_model, read again, gives the same logits but for 1.0e-07." in shown
    assert f"Next: racl-sweep --workdir={tmp_path}" in shown
