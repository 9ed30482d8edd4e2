"""The transfer between models from files: what it writes, and mistakes found before any work."""

import pathlib
from collections.abc import Callable

import keras
import pytest
from ml_collections import ConfigDict

from racl_tf.files import read_table
from racl_tf.runs.transfer import run_transfer

Settings = Callable[..., ConfigDict]


def test_a_transfer(flag_settings: Settings, models: dict[str, str], tmp_path: pathlib.Path) -> None:
    named = ",".join(f"{name}={path}" for name, path in models.items())
    config = flag_settings(dataset="digits", images="60", eps="1/20", models=named, sources="other", attack="pgd5")
    result = run_transfer(config, str(tmp_path))
    assert result.targets == ("one", "other")
    for target in ("one", "other"):
        assert result.count("clean", target) > result.count("other", target)
    rows = read_table(tmp_path / "transfer/transfer.csv")
    assert {(row["source"], row["target"]) for row in rows} >= {("clean", "one"), ("other", "one"), ("other", "other")}
    assert (tmp_path / "transfer/transfer.md").read_text().startswith("| source")
    assert (tmp_path / "transfer/transfer.png").read_bytes().startswith(b"\x89PNG")


def test_each_model_has_its_own_bounds(flag_settings: Settings, models: dict[str, str], tmp_path: pathlib.Path) -> None:
    """A model that takes bytes does as the same one that takes [0, 1]."""
    model = keras.models.load_model(models["one"])
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / 255, bias])
    model.save(tmp_path / "bytes.keras")
    named = f"one={models['one']},bytes={tmp_path}/bytes.keras@0,255"
    config = flag_settings(dataset="digits", images="60", eps="1/20", models=named, attack="pgd5")
    result = run_transfer(config, str(tmp_path))
    for source in ("clean", "one", "bytes"):
        assert abs(result.count(source, "one") - result.count(source, "bytes")) <= 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "no models to compare"),
        ({"models": "one"}, "NAME=PATH"),
        ({"models": "one=ONE@0,white"}, "Bounds of a model are two numbers, as in one=PATH@0,255"),
        ({"models": "one=ONE@1,0"}, "two rising numbers"),
        ({"models": "one=ONE", "sources": "two"}, "Unknown source 'two'"),
        ({"models": "one=ONE", "attack": "autoattack"}, "ensemble 'autoattack'"),
    ],
    ids=str,
)
def test_mistakes_are_found_before_any_work(refuses: Callable, flags: dict[str, str], message: str) -> None:
    refuses(run_transfer, message, **flags)
