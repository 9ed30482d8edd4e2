"""Damaged files are read as what they were, or refused in a paragraph; never a traceback, never other figures.

RACL_TF_FUZZ is the number of damaged copies of each file, 12 if it is not given.
"""

import functools
import io
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from racl_tf.attacks import pgd
from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.evaluation import check_for_masking, load_classifier
from racl_tf.evaluation.progress import EvaluationProgress
from racl_tf.evaluation.robustness import evaluate
from racl_tf.evaluation.task import prepare_task
from racl_tf.files import write_json, write_table
from racl_tf.networks.loading import load_network
from racl_tf.runs.evaluate import _found_before
from racl_tf.runs.folder import StepFolder, take_over_settings
from racl_tf.settings import check_settings, paper_settings
from racl_tf.space import Genotype, random_genotype
from racl_tf.training.callbacks import finished_rows
from racl_tf.training.checkpoints import Checkpoints

COPIES = int(os.environ.get("RACL_TF_FUZZ", "12"))


def damaged_copies(whole: bytes, seed: int, copies: int = COPIES) -> Iterator[bytes]:
    """Yields bytes with some of them changed, left out, repeated or cut off, the empty file among them."""
    generator = np.random.default_rng(seed)
    for number in range(copies):
        data = bytearray(whole)
        start, end = sorted(generator.integers(0, len(data) + 1, 2).tolist())
        end = min(end, start + int(generator.integers(1, 40)))
        match 5 if number == 0 else number % 5:
            case 0:
                data[start:end] = generator.integers(0, 256, end - start, np.uint8).tobytes()
            case 1:
                for place in generator.integers(0, len(data), 3):
                    data[place] ^= 1 << int(generator.integers(8))
            case 2:
                del data[start:end]
            case 3:
                data = data[:start]
            case 4:
                data[start:start] = data[start:end] or b"9"
            case 5:
                data = bytearray()
        yield bytes(data)


def is_read_or_refused(read: Callable[[], Any]) -> Any:
    """Returns what was read, or None where a paragraph says why it was not."""
    try:
        return read()
    except UsageError as error:
        message = str(error)
    assert 20 < len(message) <= 1000
    assert "\n\n" not in message
    return None


def images(count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), np.uint8), np.arange(count) % 2


def test_archives(tmp_path: pathlib.Path) -> None:
    x, y = images()
    for seed, save in enumerate((np.savez, np.savez_compressed)):
        save(tmp_path / "whole.npz", x=x, y=y)
        for data in damaged_copies((tmp_path / "whole.npz").read_bytes(), seed):
            (tmp_path / "x.npz").write_bytes(data)
            is_read_or_refused(lambda: load_dataset(tmp_path / "x.npz"))


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp"])
def test_folders(kind: str, tmp_path: pathlib.Path) -> None:
    file = io.BytesIO()
    Image.fromarray(images(1)[0][0, ..., 0]).save(file, kind)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.{kind}").write_bytes(file.getvalue())
    for data in damaged_copies(file.getvalue(), 0):
        (tmp_path / f"a/0.{kind}").write_bytes(data)
        is_read_or_refused(lambda: load_dataset(tmp_path))


def test_settings(tmp_path: pathlib.Path) -> None:
    folder = StepFolder(str(tmp_path), "train", paper_settings(), ("attack", "train")).begin()
    (folder / "history.csv").write_text("epoch")

    def begin() -> None:
        config = paper_settings()
        take_over_settings(config, str(tmp_path), ("search", "train"))
        check_settings(config)
        StepFolder(str(tmp_path), "train", config, ("attack", "train"))

    for path in (tmp_path / "config.json", folder / "config.json"):
        whole = path.read_bytes()
        for data in damaged_copies(whole, 0, 2 * COPIES):
            path.write_bytes(data)
            is_read_or_refused(begin)
        path.write_bytes(whole)
    begin()


def test_genotypes_and_histories(tmp_path: pathlib.Path) -> None:
    random_genotype(0).save(tmp_path / "genotype.json")
    write_table(tmp_path / "history.csv", [{"epoch": str(epoch), "loss": "0.25"} for epoch in range(1, 6)])
    for path, read in (
        (tmp_path / "genotype.json", Genotype.load),
        (tmp_path / "history.csv", lambda path: finished_rows(path, 3)),
    ):
        for data in damaged_copies(path.read_bytes(), 0, 2 * COPIES):
            path.write_bytes(data)
            is_read_or_refused(functools.partial(read, path))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])


def test_outcomes_and_results(model: keras.Model, tmp_path: pathlib.Path) -> None:
    """Figures that are read are those that were written."""
    x, y = images()
    pair, attacks = (x / np.float32(255), y), {"pgd": (pgd(0.05, 0.02, 3),)}
    expected = evaluate(model, pair, attacks, folder=tmp_path, progress=False)
    task, path = prepare_task(model, pair), tmp_path / "outcomes.npz"
    whole, arrays = path.read_bytes(), dict(np.load(path))
    others = []
    changes: tuple[dict[str, Any], ...]
    for name in arrays:  # whole files of other arrays
        kept = {other: array for other, array in arrays.items() if other != name}
        changes = ({}, {name: arrays[name].ravel()[:-1]}, {name: arrays[name].astype("U3")}, {name: 1})
        for changed in changes:
            file = io.BytesIO()
            np.savez(file, **kept | changed)
            others.append(file.getvalue())
    for data in [*others, *damaged_copies(whole, 0, 3 * COPIES)]:
        path.write_bytes(data)
        found = is_read_or_refused(lambda: EvaluationProgress(task, attacks, path=path).finish())
        if found is not None and data:
            assert found.to_dict() == expected.to_dict()
    masking = check_for_masking(model, pair, images=10, progress=False)
    results = tmp_path / "results.json"
    write_json(results, {"masking": masking.to_dict()})
    assert _found_before(results).masking == masking
    for data in damaged_copies(results.read_bytes(), 0, 3 * COPIES):
        results.write_bytes(data)
        is_read_or_refused(lambda: str(_found_before(results)))


def test_models(model: keras.Model, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    copies = list(damaged_copies(path.read_bytes(), 0))
    for name, part in parts.items():
        for data in damaged_copies(part, 1, COPIES // 4):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for other, content in parts.items():
                    archive.writestr(other, data if other == name else content)
            copies.append(file.getvalue())
    for data in copies:
        path.write_bytes(data)
        is_read_or_refused(lambda: load_network(path))


def test_saved_models(model: keras.Model, tmp_path: pathlib.Path) -> None:
    model.export(tmp_path / "whole", verbose=False)
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    for file in files:
        for data in damaged_copies((tmp_path / "whole" / file).read_bytes(), 2, COPIES // 6):
            shutil.copytree(tmp_path / "whole", tmp_path / "copy", dirs_exist_ok=True)
            (tmp_path / "copy" / file).write_bytes(data)
            is_read_or_refused(lambda: load_classifier(tmp_path / "copy"))


def test_checkpoints(tmp_path: pathlib.Path) -> None:
    """Whatever byte is changed or lost, the state is passed over for the one before."""
    layer = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    saved = Checkpoints(layer, tmp_path)
    saved.on_epoch_end(3)
    before = layer.get_weights()
    layer.set_weights([1 + weight for weight in before])
    saved.on_epoch_end(4)
    assert Checkpoints(layer, tmp_path).restore() == (5, 0)
    for path in sorted(tmp_path.glob("epoch-00005-*/*")):
        whole = path.read_bytes()
        for data in damaged_copies(whole, 3, COPIES):
            path.write_bytes(data)
            position = is_read_or_refused(lambda: Checkpoints(layer, tmp_path).restore())
            if data == whole or (path.name == "state.json" and position == (5, 0)):  # a space, which means nothing
                continue
            assert position == (4, 0)
            for weight, value in zip(layer.get_weights(), before, strict=True):
                np.testing.assert_array_equal(weight, value)
        path.write_bytes(whole)
