"""The programs that compare: mistakes end in one paragraph before any work, and what they write."""

import json
import pathlib
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.reproduction import runs
from racl_tf.reproduction.runs import run_reproduction, run_study
from racl_tf.reproduction.study import Outcome
from racl_tf.reproduction.system import System
from racl_tf.runs.flags import REPRODUCTION, STUDY

Configuration = Callable[..., ConfigDict]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        (
            "reproduce",
            ["--config=reproduction:smoke", "--exhibits=tabel1"],
            "Unknown exhibit 'tabel1'. Did you mean 'table1'?",
        ),
        ("reproduce", ["--datasets=cifar1"], "Unknown data set of the reproduction 'cifar1'. Did you mean 'cifar10'?"),
        ("reproduce", ["--config=reproduction:smok"], "Did you mean 'smoke'?"),
        (
            "study",
            ["--config=study:smoke", "--variants=PC-DART"],
            "Unknown variant 'PC-DART'. Did you mean 'PC-DARTS'?",
        ),
        ("study", ["--config=study:smoke", "--seeds=1"], "two seeds at least"),
        ("study", ["--seeds=two"], "Received --seeds=two. Expected: how many seeds."),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_paragraph_before_any_work(
    run: Run, program: str, arguments: list[str], expected: str, tmp_path: pathlib.Path
) -> None:
    result = run(program, f"--workdir={tmp_path}/run", *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert expected in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert "\n\n" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("program", "flags"), [("reproduce", REPRODUCTION), ("study", STUDY)])
def test_help_lists_the_flags(run: Run, program: str, flags: dict[str, object]) -> None:
    shown = run(program, "--help").stdout
    assert all(f"--{flag}:" in shown for flag in ("config", "workdir", *flags))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What the reproduction is asked for, in the place of making it."""
    calls: list[tuple] = []
    monkeypatch.setattr(runs, "reproduce", lambda *args, extra, shard: calls.append((*args, extra)))
    return calls


def test_what_the_flags_ask_for(configuration: Configuration, asked: list[tuple], tmp_path: pathlib.Path) -> None:
    config = configuration("reproduction", "cpu")
    texts = {
        "exhibits": "table2, figure3",
        "datasets": "mnist,cifar10",
        "networks": "mine=~/mine.json,other=saved/model,ours=racl",
        "data_dir": "there",
    }
    for name, text in texts.items():
        REPRODUCTION[name].apply(config, text)
    run_reproduction(config, str(tmp_path))
    ((names, stores, folder, extra),) = asked
    assert (names, folder) == (("table2", "figure3"), tmp_path)
    assert list(stores) == ["mnist", "cifar10"], "the first is that of all exhibits but Table 4"
    assert [store.config.data.name for store in stores.values()] == ["mnist", "cifar10"]
    assert {store.config.data.data_dir for store in stores.values()} == {"there"}
    assert {store.folder for store in stores.values()} == {tmp_path / "parts"}
    home = pathlib.Path.home()
    assert extra == (System("mine", f"{home}/mine.json"), System("other", "saved/model"), System("ours", "racl"))


def test_by_default_all_exhibits_are_made_on_all_data_sets(
    configuration: Configuration, asked: list[tuple], tmp_path: pathlib.Path
) -> None:
    run_reproduction(configuration("reproduction"), str(tmp_path))
    ((names, stores, _, extra),) = asked
    assert (len(names), list(stores), extra) == (7, ["cifar10", "cifar100", "mnist"], ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets": ()}, "no data set to reproduce on"),
        ({"networks": ("mine.json",)}, r"named once each, as NAME=PATH\. Received: mine\.json"),
        ({"networks": ("a=1.json", "a=2.json")}, r"named once each, as NAME=PATH\. Received: a=1\.json, a=2\.json"),
    ],
)
def test_mistakes(
    configuration: Configuration, change: dict[str, object], message: str, asked: list[tuple], tmp_path: pathlib.Path
) -> None:
    config = configuration("reproduction", "smoke")
    config.update(change)
    with pytest.raises(UsageError, match=message):
        run_reproduction(config, str(tmp_path / "run"))
    assert asked == []


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist"])
def test_the_paper_s_scale_holds_the_settings_of_each_data_set(configuration: Configuration, name: str) -> None:
    config, own = configuration("reproduction")[name], configuration(name)
    for section in ("seed", "attack", "search", "data"):
        assert config[section] == own[section]
    assert (config.train.epochs, config.train.defence, config.train.attack_steps) == (100, "pgd", 7)


def test_scales_shrink_and_share_one_scale_a_data_set(configuration: Configuration) -> None:
    small = configuration("reproduction", "cpu")
    assert {small[name].data.train_size for name in small.datasets} == {2500}
    smoke = configuration("reproduction", "smoke")
    assert (list(smoke.datasets), smoke.digits.data.train_size, smoke.digits.data.test_size) == (["digits"], 512, 64)
    study = configuration("study", "smoke")
    assert (study.data.name, study.data.train_size, study.study.seeds) == ("digits", 512, 2)
    assert configuration("study", "cpu").data.name == "mnist"
    assert configuration("study").data.train_size is None


def test_a_study_writes_its_page_picture_and_record(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def outcome(standing: int, surrogate: float) -> Outcome:
        correct = {"clean": np.ones(20, bool), "pgd10": np.arange(20) < standing}
        return Outcome(correct, {}, {"ln surrogate, matrix": surrogate}, "", 90.0, "racl_tf 0.1.0")

    outcomes = {
        "PC-DARTS": [outcome(12, -1.0), outcome(14, -2.0)],
        "random cells": [outcome(10, -3.0), outcome(11, -4.0)],
    }
    folders: list[pathlib.Path] = []

    def recorded(config: ConfigDict, folder: pathlib.Path) -> dict[str, list[Outcome]]:
        folders.append(folder)
        return outcomes

    monkeypatch.setattr(runs, "run_systems", recorded)
    study = run_study(configuration("study", "smoke"), str(tmp_path))
    assert folders == [tmp_path / "parts"]
    page = (tmp_path / "study.md").read_text()
    assert page == study.markdown() + "\n![](study.png)\n"
    assert "* 4 networks, 6 min in all." in page
    assert "trained under 'pgd', from seeds 0 to 1" in page
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "study.json").read_text()) == json.loads(json.dumps(study.to_dict()))
