"""Errors under corruptions: counted on made-up ones of the digits, means by the paper, and files that are refused."""

import json
import pathlib

import keras
import numpy as np
import pytest

from racl_tf.attacks import Classifier
from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.evaluation import CorruptionErrors, evaluate_corruptions, read_baseline, read_corruptions

COUNT = 40


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The nearest of the digits' mean images."""
    train = load_dataset("digits").train
    images = train.images().reshape(-1, 64)
    means = np.stack([images[train.y == label].mean(0) for label in range(10)])
    dense = keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([2 * means.T, -(means**2).sum(1)])
    return Classifier(model)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Noise, and a darkening whose last severity is black."""
    test = load_dataset("digits").test
    clean = test.images(np.arange(COUNT))
    noise = np.random.default_rng(0).normal(size=clean.shape)
    made = {
        "noise": [np.clip(clean + 0.1 * severity * noise, 0, 1) for severity in range(1, 6)],
        "dark": [clean * (1 - severity / 5) for severity in range(1, 6)],
        "spatter": [clean] * 5,
    }
    for name, images in made.items():
        np.save(tmp_path / f"{name}.npy", np.round(255 * np.concatenate(images)).astype(np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(test.y[:COUNT], 5).astype(np.uint8))
    return tmp_path


@pytest.mark.parametrize("batch_size", [7, 128])
def test_counts_are_those_of_the_images(classifier: Classifier, folder: pathlib.Path, batch_size: int) -> None:
    corrupted = read_corruptions(folder)
    assert all(isinstance(images, np.memmap) for images in corrupted.images.values())
    found = evaluate_corruptions(classifier, corrupted, batch_size=batch_size, progress=False)
    labels = np.load(folder / "labels.npy")
    for name in ("noise", "dark", "spatter"):
        images = np.load(folder / f"{name}.npy") / 255
        for severity in range(5):
            rows = slice(severity * COUNT, (severity + 1) * COUNT)
            predicted = classifier.logits(images[rows].astype(np.float32)).argmax(1)
            assert found.correct[name][severity] == (predicted == labels[rows]).sum()
    assert len(set(found.correct["spatter"])) == 1
    assert found.correct["noise"][0] > found.correct["noise"][4]
    black = int(classifier.logits(np.zeros((1, 8, 8, 1), np.float32)).argmax())
    assert found.correct["dark"][4] == (labels[:COUNT] == black).sum()


def test_means_are_those_of_the_paper() -> None:
    correct = {"fog": (90, 80, 70, 60, 50), "snow": (100, 100, 90, 90, 70), "spatter": (0, 0, 0, 0, 0)}
    baseline = {"fog": (0.1, 0.2, 0.3, 0.3, 0.1), "snow": (0.2, 0.2, 0.2, 0.2, 0.2), "spatter": (1.0,) * 5}
    found = CorruptionErrors(correct, 100, baseline)
    assert found.mean_error == pytest.approx((0.3 + 0.1) / 2)  # without the extra corruption
    assert found.mean_corruption_error == pytest.approx((1.5 / 1.0 + 0.5 / 1.0) / 2)
    assert CorruptionErrors({"spatter": (50,) * 5}, 100).mean_error == 0.5
    assert CorruptionErrors(correct, 100).mean_corruption_error is None
    record = json.loads(json.dumps(found.to_dict()))
    assert CorruptionErrors.from_dict(record) == found
    assert "mean error over 2 corruptions: 20.00 %; relative to the baseline (mCE): 100.00 %" in str(found)
    assert found.rows()[6] == {"corruption": "snow", "severity": 2, "correct": 100, "images": 100, "accuracy": 1.0}


def test_a_classifier_is_its_own_baseline(classifier: Classifier, folder: pathlib.Path) -> None:
    corrupted = read_corruptions(folder)
    alone = evaluate_corruptions(classifier, corrupted, progress=False)
    errors = {name: [max(error, 0.01) for error in alone.errors(name)] for name in alone.correct}
    (folder / "baseline.json").write_text(json.dumps(errors | {"frost": [0.1] * 5}))
    baseline = read_baseline(folder / "baseline.json", corrupted)
    again = evaluate_corruptions(classifier, corrupted, baseline=baseline, progress=False)
    assert again.mean_corruption_error == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("noise", np.zeros((200, 8, 8, 1), np.float32), r"noise.npy' must hold uint8 .*Received: float32"),
        ("noise", np.zeros((199, 8, 8, 1), np.uint8), r"noise.npy' must hold uint8 of shape \(200, "),
        ("noise", np.zeros((200, 9, 9, 1), np.uint8), "of one size"),
        ("noise", np.zeros((200, 8, 8), np.uint8), "must hold uint8"),
        ("noise", np.array([{}] * 200), "noise.npy': it is no .npy file of plain numbers"),
        ("labels", np.zeros(201, np.int64), r"labels.npy' must hold integers of shape \(5 N,\)"),
        ("labels", np.zeros(200), "must hold integers"),
        ("labels", np.full(200, -1), "labels from 0"),
        ("labels", np.zeros(0, np.int64), "must hold integers"),
    ],
    ids=str,
)
def test_other_arrays_are_refused(folder: pathlib.Path, name: str, array: np.ndarray, message: str) -> None:
    np.save(folder / f"{name}.npy", array, allow_pickle=True)
    with pytest.raises(UsageError, match=message):
        read_corruptions(folder)


def test_other_folders_are_refused(folder: pathlib.Path, classifier: Classifier) -> None:
    (folder / "noise.npy").write_bytes(b"no array")
    with pytest.raises(UsageError, match=r"noise\.npy': it is no \.npy file"):
        read_corruptions(folder)
    (folder / "labels.npy").unlink()
    for place in (folder, folder / "missing"):
        with pytest.raises(UsageError, match=r"does not hold corrupted images: .*labels\.npy"):
            read_corruptions(place)


def test_a_label_beyond_the_classes_is_refused(folder: pathlib.Path, classifier: Classifier) -> None:
    np.save(folder / "labels.npy", np.full(200, 10))
    with pytest.raises(UsageError, match="below the number of classes, 10"):
        evaluate_corruptions(classifier, read_corruptions(folder), progress=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "holds no errors of dark, noise, spatter"),
        ('{"noise": [0.1], "dark": [0.1], "spatter": [0.1]}', "must hold 5 errors"),
        (
            '{"noise": [0.1, 0.1, 0.1, 0.1, 0.1], "dark": [0, 0, 0, 0, 0], "spatter": [1, 1, 1, 1, 1]}',
            "not all 0, of dark",
        ),
        ('{"noise": [0.1, 0.1, 0.1, 0.1, 3], "dark": [1, 0, 0, 0, 0], "spatter": [1, 1, 1, 1, 1]}', "of noise"),
        ('{"noise": [0.1, 0.1, 0.1, 0.1, NaN], "dark": [1, 0, 0, 0, 0], "spatter": [1, 1, 1, 1, 1]}', "of noise"),
    ],
    ids=str,
)
def test_other_baselines_are_refused(folder: pathlib.Path, content: str, message: str) -> None:
    (folder / "baseline.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_baseline(folder / "baseline.json", read_corruptions(folder))
