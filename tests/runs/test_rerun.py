"""A run made again: equal to the last bit, and what differs is named, the earliest first."""

import json
import os
import pathlib
import shutil
from collections.abc import Callable

import pytest
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.files import read_table, write_json, write_table
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.rerun import compare_runs, run_rerun
from racl_tf.runs.search import run_search
from racl_tf.runs.train import run_training


@pytest.fixture(scope="module")
def made(configuration: Callable[..., ConfigDict], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A random cell, its training and its evaluation, of the smallest sizes."""
    config, folder = configuration("digits", "smoke"), tmp_path_factory.mktemp("made") / "run"
    config.data.update({"train_size": 192, "test_size": 32})
    config.search.mode = "random"
    config.train.update({"epochs": 2, "attack_steps": 1, "validation_steps": 1, "held_out": 64})
    config.evaluate.update({"attacks": ("fgsm",), "check_images": 0, "batch_size": 32})
    run_search(config, str(folder))
    run_training(config, str(folder))
    run_evaluation(config, str(folder))
    return folder


def changed(folder: pathlib.Path, name: str, epoch: int, column: str) -> None:
    rows = read_table(folder / name)
    rows[epoch - 1][column] = str(float(rows[epoch - 1][column]) + 1e-6)
    write_table(folder / name, rows)


def test_a_run_is_repeated_to_the_last_bit(made: pathlib.Path, tmp_path: pathlib.Path) -> None:
    files = sorted((str(path), path.stat().st_mtime_ns) for path in made.rglob("*"))
    compared = run_rerun(str(made), str(tmp_path / "again"), check=True)
    assert compared is not None
    assert compared.steps == ("search", "train", "evaluate")
    assert (compared.differences, compared.versions) == ([], [])
    history = read_table(made / "train/history.csv")
    assert compared.compared > len(history) * (len(history[0]) - 1) + len(
        json.loads((made / "search/genotype.json").read_text())
    )
    assert str(compared) == f"All {compared.compared:,} values of search, train, evaluate are equal."
    assert sorted((str(path), path.stat().st_mtime_ns) for path in made.rglob("*")) == files

    again = tmp_path / "again"
    changed(again / "train", "history.csv", 2, "loss")
    changed(again / "train", "history.csv", 1, "val_accuracy")
    results = json.loads((again / "evaluate/results.json").read_text())
    results |= {"date": "another", "images": 33}
    write_json(again / "evaluate/results.json", results)
    versions = json.loads((again / "train/versions.json").read_text())
    write_json(again / "train/versions.json", versions | {"threads": "7 within operations, 1 between"})
    found = compare_runs(again, made, ("train", "evaluate"))
    first, second, last = found.differences
    assert first.place == "train/history.csv, epoch 1, val_accuracy"
    assert second.place == "train/history.csv, epoch 2, loss"
    assert (last.place, last.before, last.now) == ("evaluate/results.json, images", "33", "32")
    (threads,) = found.versions
    assert threads.startswith("threads was '7 within operations, 1 between' and is ")
    assert f"3 of {found.compared:,} values of train, evaluate differ. The first: {first}. It was made" in str(found)

    rows = read_table(again / "train/history.csv")
    write_table(again / "train/history.csv", rows[:1])
    assert compare_runs(made, again, ("train",)).differences[-1].now == "missing"


def test_one_step_is_made_of_those_before_it(made: pathlib.Path, run: Callable, tmp_path: pathlib.Path) -> None:
    given = shutil.copytree(made, tmp_path / "run")
    told = run("rerun", str(given / "evaluate"), "--check")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("All ")
    assert told.stdout.endswith(" values of evaluate are equal.\n")
    results = json.loads((given / "evaluate/results.json").read_text())
    results["results"]["fgsm"]["correct"] += 1
    write_json(given / "evaluate/results.json", results)
    told = run("rerun", str(given / "evaluate"), "--check", f"--workdir={tmp_path / 'again'}")
    assert told.returncode == 1
    assert "The first: evaluate/results.json, results.fgsm.correct was" in " ".join(told.stderr.split())
    assert (tmp_path / "again/train/best.keras").read_bytes() == (made / "train/best.keras").read_bytes()


def test_mistakes_are_found_before_any_work(made: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="Give --workdir"):
        run_rerun(str(made), None, check=False)
    with pytest.raises(UsageError, match=r"is in .* itself"):
        run_rerun(str(made / "train"), os.path.join(made, "train", ".."), check=True)
    with pytest.raises(UsageError, match="no folder"):
        run_rerun(str(made / "missing"), None, check=True)
    given = shutil.copytree(made, tmp_path / "run")
    (given / "train/finished.json").unlink()
    with pytest.raises(UsageError, match=r"train' is not finished: it has no finished\.json"):
        run_rerun(str(given), str(tmp_path / "again"), check=True)
    assert not (tmp_path / "again").exists()
