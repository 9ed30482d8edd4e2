"""The run's folder says what it holds and refuses to be mixed with another run."""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import IO

import numpy as np
import pytest
from PIL import Image

from racl_tf.data import datasets
from racl_tf.data.datasets import content_digest
from racl_tf.errors import UsageError
from racl_tf.runs.folder import StepFolder, take_over_settings
from racl_tf.settings import ADDED, paper_settings


def test_it_records_settings_and_versions(tmp_path: pathlib.Path) -> None:
    folder = StepFolder(str(tmp_path), "search", paper_settings(), ("attack", "search")).begin()
    settings = json.loads((folder / "config.json").read_text())
    assert settings["seed"] == 0
    assert settings["search"]["eta"] == 0.9
    assert "train" not in settings
    assert json.loads((tmp_path / "config.json").read_text())["train"]["epochs"] == 100
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
    folder = StepFolder(str(tmp_path), "search", config, ("search", "train", "evaluate")).begin()
    (folder / "history.csv").write_text("epoch")
    before = json.loads((folder / "config.json").read_text())
    for name in ADDED:
        *sections, field = name.split(".")
        del functools.reduce(dict.__getitem__, sections, before)[field]
    (folder / "config.json").write_text(json.dumps(before))
    config.update_from_flattened_dict(dict(ADDED))
    assert StepFolder(str(tmp_path), "search", config, ("search", "train", "evaluate")).begin() == folder
    config.search.constraint_update = "proximal"
    with pytest.raises(UsageError, match=r"search\.constraint_update was 'printed' and is 'proximal'"):
        StepFolder(str(tmp_path), "search", config, ("search", "train", "evaluate"))


def test_later_steps_take_over_what_a_run_was_begun_with(tmp_path: pathlib.Path) -> None:
    """All of it from the run, and what each step changed; a step's own settings are the strongest."""
    config = paper_settings()
    config.update_from_flattened_dict({"data.name": "digits", "data.test_size": 7, "train.channels": 8})
    for step, eps in (("search", 0.1), ("train", 0.2)):
        config.attack.eps = eps
        folder = StepFolder(str(tmp_path), step, config, ("attack", step)).begin()
        (folder / "history.csv").write_text("epoch")
    for steps, eps in ((("search",), 0.1), (("search", "train"), 0.2), (("search", "train", "evaluate"), 0.2)):
        taken = paper_settings()
        take_over_settings(taken, str(tmp_path), steps)
        assert (taken.data.name, taken.data.test_size, taken.train.channels, taken.attack.eps) == ("digits", 7, 8, eps)
        assert taken.evaluate.bounds == (0.0, 1.0)
    taken = paper_settings()
    take_over_settings(taken, str(tmp_path), ())
    assert taken == paper_settings()


def test_a_run_begun_before_a_setting_came_keeps_what_it_did(tmp_path: pathlib.Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search/config.json").write_text('{"search": {"eta": 0.7}}')
    config = paper_settings()
    config.search.constraint_update = "proximal"
    take_over_settings(config, str(tmp_path), ("search",))
    assert (config.search.eta, config.search.constraint_update) == (0.7, "printed")


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xff{}", b"[]", b"{", b'{"seed": null}', b'{"seed": "0"}', b'{"data": 1}', b'{"seed": {}}',
        b'{"attack": {"eps": "small"}}', b'{"evaluate": {"bounds": 1}}', b'{"seed": ' + b"9" * 5000 + b"}", b"[" * 9999,
    ],
)  # fmt: skip
def test_damaged_settings_are_said(text: bytes, tmp_path: pathlib.Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ("config.json", "history.csv"):
        (tmp_path / "train" / name).write_bytes(text)
    for read in (
        lambda: take_over_settings(paper_settings(), str(tmp_path), ("train",)),
        lambda: StepFolder(str(tmp_path), "train", paper_settings(), ("attack", "train")),
    ):
        with pytest.raises(UsageError, match=r"config\.json|other settings"):
            read()


def test_code_is_not_taken_from_a_folder(tmp_path: pathlib.Path) -> None:
    """Its settings may be anybody's."""
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7, "callbacks": "os:abort"}))
    config = paper_settings()
    take_over_settings(config, str(tmp_path), ("search",))
    assert (config.seed, config.callbacks) == (7, "")


def _write_photos(root: pathlib.Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 3, 4, 4), np.uint8)
    for name, images in zip(("cat", "dog"), pixels, strict=True):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(root / name / f"{number}.bmp")


def _write_archive(path: pathlib.Path, seed: int) -> None:
    np.savez(path, x=np.random.default_rng(seed).integers(0, 256, (9, 4, 4, 1), np.uint8), y=np.arange(9) % 2)


@pytest.mark.parametrize(("name", "write"), [("photos", _write_photos), ("set.npz", _write_archive)])
def test_data_that_were_replaced_under_one_name_are_refused(
    tmp_path: pathlib.Path, name: str, write: Callable[[pathlib.Path, int], None]
) -> None:
    """Of the same names and sizes; written again as they were, they are the same."""
    config = paper_settings()
    config.data.name = str(tmp_path / name)
    write(tmp_path / name, 0)
    folder = StepFolder(str(tmp_path / "run"), "search", config, ("search",)).begin()
    (folder / "history.csv").write_text("epoch")
    write(tmp_path / name, 0)
    StepFolder(str(tmp_path / "run"), "search", config, ("search",)).begin()
    write(tmp_path / name, 1)
    with pytest.raises(UsageError, match=r"The data in .* are not those that .*search' was begun with\. Put those"):
        StepFolder(str(tmp_path / "run"), "search", config, ("search",)).begin()
    (folder / "data.json").unlink()
    assert StepFolder(str(tmp_path / "run"), "search", config, ("search",)).begin() == folder, "as of earlier versions"


def test_a_digest_of_a_folder_is_of_its_images_and_of_a_large_one_of_some(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_photos(tmp_path, 0)
    before = content_digest(str(tmp_path))
    (tmp_path / "cat" / "notes.txt").write_text("none")
    assert content_digest(str(tmp_path)) == before
    (tmp_path / "cat" / "0.bmp").rename(tmp_path / "cat" / "9.bmp")
    assert content_digest(str(tmp_path)) != before
    assert content_digest("digits") is None
    read: list[str] = []

    def noted(path: pathlib.Path, mode: str) -> IO[bytes]:
        read.append(path.name)
        return path.open("rb")

    monkeypatch.setattr(datasets, "_MOST_READ", 3 * (tmp_path / "cat" / "9.bmp").stat().st_size)
    monkeypatch.setattr(datasets, "open", noted, raising=False)
    (tmp_path / "cat" / "9.bmp").rename(tmp_path / "cat" / "7.bmp")
    content_digest(str(tmp_path))
    assert read == ["1.bmp", "7.bmp", "1.bmp"], "every second of six"
