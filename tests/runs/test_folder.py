"""The run's folder says what it holds and refuses to be mixed with another run."""

import json
import pathlib

import pytest

from racl_tf.errors import UsageError
from racl_tf.runs.folder import StepFolder
from racl_tf.settings import ADDED, paper_settings


def test_it_records_settings_and_versions(tmp_path: pathlib.Path) -> None:
    folder = StepFolder(str(tmp_path), "search", paper_settings(), ("attack", "search")).begin()
    settings = json.loads((folder / "config.json").read_text())
    assert settings["seed"] == 0
    assert settings["search"]["eta"] == 0.9
    assert "train" not in settings
    assert {"racl_tf", "tensorflow", "keras", "python"} <= json.loads((folder / "versions.json").read_text()).keys()


def test_another_step_s_settings_may_change(tmp_path: pathlib.Path) -> None:
    config = paper_settings()
    first = StepFolder(str(tmp_path), "search", config, ("attack", "search")).begin()
    config.train.epochs = 3
    assert StepFolder(str(tmp_path), "search", config, ("attack", "search")).begin() == first


def test_its_own_may_not_and_nothing_is_overwritten(tmp_path: pathlib.Path) -> None:
    config = paper_settings()
    folder = StepFolder(str(tmp_path), "search", config, ("attack", "search")).begin()
    (folder / "history.csv").write_text("epoch")
    before = (folder / "config.json").read_text()
    config.search.rho = 0.5
    with pytest.raises(UsageError, match=r"search\.rho was 0\.001 and is 0\.5"):
        StepFolder(str(tmp_path), "search", config, ("attack", "search"))
    assert (folder / "config.json").read_text() == before


def test_a_refused_step_does_not_lock_its_folder(tmp_path: pathlib.Path) -> None:
    """Where nothing was made yet, the corrected settings take the place of those that were refused."""
    config = paper_settings()
    StepFolder(str(tmp_path), "choose", config, ("choose",)).begin()
    config.choose.samples = 7
    folder = StepFolder(str(tmp_path), "choose", config, ("choose",)).begin()
    assert json.loads((folder / "config.json").read_text())["choose"]["samples"] == 7


def test_where_the_data_lies_may_change(tmp_path: pathlib.Path) -> None:
    config = paper_settings()
    first = StepFolder(str(tmp_path), "search", config, ("search",)).begin()
    (first / "history.csv").write_text("epoch")
    config.data.data_dir = "moved"
    assert StepFolder(str(tmp_path), "search", config, ("search",)).begin() == first


def test_a_file_in_the_way_is_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="Choose another --workdir"):
        StepFolder(str(tmp_path / "taken"), "search", paper_settings(), ()).begin()


def test_nothing_is_written_before_the_step_begins(tmp_path: pathlib.Path) -> None:
    StepFolder(str(tmp_path / "run"), "search", paper_settings(), ())
    assert not (tmp_path / "run").exists()


def test_a_folder_begun_before_a_setting_came_goes_on(tmp_path: pathlib.Path) -> None:
    """What the folder's settings lack counts as what was done then, and only that."""
    config = paper_settings()
    folder = StepFolder(str(tmp_path), "search", config, ("search",)).begin()
    (folder / "history.csv").write_text("epoch")
    before = json.loads((folder / "config.json").read_text())
    for name in ADDED:
        section, _, field = name.partition(".")
        del before[section][field]
    (folder / "config.json").write_text(json.dumps(before))
    config.update_from_flattened_dict(dict(ADDED))
    assert StepFolder(str(tmp_path), "search", config, ("search",)).begin() == folder
    config.search.constraint_update = "proximal"
    with pytest.raises(UsageError, match=r"search\.constraint_update was 'printed' and is 'proximal'"):
        StepFolder(str(tmp_path), "search", config, ("search",))
