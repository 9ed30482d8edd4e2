"""A run's network in every format, each beside a card with the figures that were measured and no others."""

import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf import file_names, from_pretrained
from racl_tf.errors import UsageError
from racl_tf.files import write_json
from racl_tf.runs.common import load_data
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.export import EXPORT_FORMATS, run_export


@pytest.fixture
def trained(config: ConfigDict, tmp_path: pathlib.Path) -> ConfigDict:
    """The settings of a run whose training is finished, in `tmp_path`."""
    config.data.test_size = 40
    config.evaluate.update({"attacks": ("fgsm",), "check_images": 0})
    config.export.formats = ("saved_model", "keras")
    (tmp_path / "train").mkdir()
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    network.save(tmp_path / "train" / file_names.BEST_NETWORK)
    write_json(tmp_path / "train" / file_names.FINISHED, {})
    write_json(tmp_path / "train" / file_names.CONFIG, json.loads(config.to_json()))
    return config


def test_every_format_computes_the_same(trained: ConfigDict, tmp_path: pathlib.Path) -> None:
    there = [  # PyTorch's has genotypes' networks alone
        name
        for name, form in EXPORT_FORMATS.items()
        if name != "torch" and all(importlib.util.find_spec(module.partition(".")[0]) for module, _ in form.needs)
    ]
    trained.export.formats = tuple(there)
    exports = run_export(trained, str(tmp_path))
    assert list(exports) == there
    for name, (path, difference) in exports.items():
        assert path == tmp_path / EXPORT_FORMATS[name].folder
        assert difference < 1e-5
        description = json.loads((path / "network.json").read_text())
        assert description["class_names"] == list(load_data(trained).class_names)
        assert description["threat"]["eps"] == trained.attack.eps
    assert run_export(trained, str(tmp_path)) == exports

    network = from_pretrained(exports["keras"].path)
    network.layers[-1].bias.assign_add([1e-4] * 10)
    network.save(tmp_path / "train" / file_names.BEST_NETWORK)
    for name in there:
        trained.export.formats = (name,)
        with pytest.raises(UsageError, match=r"holds another network than train/best\.keras is now"):
            run_export(trained, str(tmp_path))


def test_cards_have_the_figures_that_were_measured(
    trained: ConfigDict, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = run_export(trained, str(tmp_path))["keras"].path / file_names.MODEL_CARD
    assert "Nothing was measured of this network." in card.read_text()
    run_evaluation(trained, str(tmp_path))
    run_export(trained, str(tmp_path))
    results = json.loads((tmp_path / "evaluate/results.json").read_text())["results"]
    for name, row in results.items():
        low, high = (f"{100 * end:.1f}" for end in row["interval"])
        line = f"| {name} | {100 * row['accuracy']:.1f} | {low} to {high} | {row['correct']} |"
        assert line in card.read_text().splitlines()

    card.write_text(card.read_text() + "My own words.\n")
    changed = card.read_text()
    best = tmp_path / "train" / file_names.BEST_NETWORK
    network = from_pretrained(card.parent)
    network.layers[-1].bias.assign_add(np.eye(10, dtype=np.float32)[0])
    network.save(best)
    trained.export.formats = ("keras",)
    (card.parent / file_names.DESCRIPTION).unlink()
    with pytest.raises(UsageError, match="holds another network"):
        run_export(trained, str(tmp_path))
    assert card.read_text() == changed

    card.rename(tmp_path / "kept.md")
    for path in card.parent.iterdir():
        path.unlink()
    card.parent.rmdir()
    with caplog.at_level("INFO", "racl_tf"):
        run_export(trained, str(tmp_path))  # of a network that the evaluation did not measure
    assert "is not of the network that is exported: its figures are left out" in caplog.text
    assert "Nothing was measured of this network." in card.read_text()
    (tmp_path / "kept.md").replace(card)
    with caplog.at_level("INFO", "racl_tf"):
        run_export(trained, str(tmp_path))
    assert "was changed by hand, and stays" in caplog.text
    assert card.read_text() == changed


def test_formats_are_checked_before_anything_is_computed(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for formats, message in (
        (("onxx",), "Unknown format 'onxx'. Did you mean 'onnx'"),
        ((), "Received no format to export in. Give --format=saved_model,keras,onnx,litert,torch"),
        (("saved_model", "onnx"), "An export as ONNX needs tf2onnx: .* Run: pip install tf2onnx"),
    ):
        monkeypatch.setitem(sys.modules, "tf2onnx", None)
        config.export.formats = formats
        with pytest.raises(UsageError, match=message):
            run_export(config, str(tmp_path))


def test_a_damaged_export_is_not_taken(trained: ConfigDict, tmp_path: pathlib.Path) -> None:
    """Its weights are those of the network, by what it says of itself, and yet it computes something else."""
    trained.export.formats = ("keras",)
    path = run_export(trained, str(tmp_path))["keras"].path
    network = from_pretrained(path)
    network.layers[-1].bias.assign_add(np.eye(10, dtype=np.float32)[0])
    network.save(path / file_names.NETWORK)
    with pytest.raises(UsageError, match=r"holds other weights than its network\.json describes"):
        run_export(trained, str(tmp_path))
