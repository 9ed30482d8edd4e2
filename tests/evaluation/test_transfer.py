"""Transfer between models for which it is known what each makes of the other's images."""

import csv
import json

import keras
import numpy as np
import pytest

from racl_tf.attacks import Attack, Classifier, fgsm, pgd
from racl_tf.data import ImageSet
from racl_tf.errors import UsageError
from racl_tf.evaluation import Transfer, transfer, wilson_interval


class Threshold(keras.Model):
    """Class 1 where the mean of the pixels exceeds a threshold: FGSM moves every pixel by eps to the other side."""

    def __init__(self, threshold, classes=2):
        super().__init__()
        self.threshold, self.classes = threshold, classes

    def call(self, x):
        score = 10 * (keras.ops.mean(x, axis=(1, 2, 3)) - self.threshold)
        return keras.ops.stack([keras.ops.zeros_like(score), score, *[score - 50] * (self.classes - 2)], axis=1)


BRIGHTNESS = np.array([0.1, 0.3, 0.45, 0.55, 0.62, 0.7, 0.9])
LABELS = (BRIGHTNESS > 0.5).astype(int)
IMAGES = np.broadcast_to(BRIGHTNESS[:, None, None, None], (7, 4, 4, 1)).astype(np.float32)
MODELS = {"half": Threshold(0.5), "bright": Threshold(0.6), "dark": Threshold(0.4)}


def brute_force(target, eps):
    """Counts images that stand clean and moved by eps away from their class, as the gradient of every source says."""
    moved = np.clip(BRIGHTNESS + np.where(LABELS == 1, -eps, eps), 0, 1)
    right = [(means > target.threshold) == LABELS for means in (BRIGHTNESS, moved)]
    return int(np.sum(right[0] & right[1]))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("eps", [0.04, 0.13, 0.25])
def test_figures_of_thresholds(batch_size, eps) -> None:
    result = transfer(MODELS, MODELS, (IMAGES, LABELS), fgsm(eps), batch_size=batch_size, progress=False)
    for source in MODELS:
        for target in MODELS:
            assert result.count(source, target) == brute_force(MODELS[target], eps)
    assert [result.count("clean", target) for target in result.targets] == [7, 6, 6]


class Pixel(keras.Model):
    """Class 1 where one pixel exceeds a half: what is crafted on one pixel says nothing about another."""

    def __init__(self, pixel):
        super().__init__()
        self.pixel = pixel

    def call(self, x):
        score = x[:, self.pixel] - 0.5
        return keras.ops.stack([keras.ops.zeros_like(score), score], axis=1)


def test_models_of_other_pixels_are_not_deceived() -> None:
    x, y = np.array([[0.6, 0.9], [0.3, 0.4]], np.float32), np.array([1, 0])
    models = {"left": Pixel(0), "right": Pixel(1)}
    result = transfer(models, models, (x, y), fgsm(0.15), progress=False)
    assert result.num_robust == {
        "clean": {"left": 2, "right": 2},
        "left": {"left": 1, "right": 2},
        "right": {"left": 2, "right": 1},
    }


def test_one_source_and_other_targets() -> None:
    """Table 2: the source need not be a target, and a clean error counts as fallen."""
    result = transfer(
        {"victim": MODELS["dark"]}, {"bright": MODELS["bright"]}, (IMAGES, LABELS), fgsm(0.04), progress=False
    )
    assert result.targets == ("bright",)
    assert list(result.num_robust) == ["clean", "victim"]
    assert result.accuracy("clean", "bright") == 6 / 7  # 0.55 is not above 0.6
    assert result.accuracy("victim", "bright") == 5 / 7  # and 0.62 - 0.04 is not either
    assert result.interval("victim", "bright") == wilson_interval(5, 7)


def test_images_are_crafted_once_for_each_source_and_batch(monkeypatch) -> None:
    crafted = []

    def spy(self, model, x, y, *, seed, index):
        crafted.append((seed, index.tolist()))
        return original(self, model, x, y, seed=seed, index=index)

    original = Attack.__call__
    monkeypatch.setattr(Attack, "__call__", spy)
    sources = {name: MODELS[name] for name in ("half", "dark")}
    transfer(sources, MODELS, (IMAGES, LABELS), pgd(0.1, 0.05, 2), batch_size=4, seed=9, progress=False)
    assert crafted == [(9, [0, 1, 2, 3]), (9, [4, 5, 6])] * 2


def test_classifiers_and_image_sets() -> None:
    """A classifier of images in 0..255 is shown the same images; its logits saturate cross-entropy."""
    models = {"bytes": Classifier(Threshold(255 * 0.6), bounds=(0, 255)), "half": MODELS["half"]}
    data = ImageSet(np.round(255 * IMAGES).astype(np.uint8), LABELS.astype(np.int32))
    result = transfer(models, models, data, fgsm(0.13, loss="margin"), progress=False)
    assert result.count("bytes", "half") == brute_force(MODELS["half"], 0.13)
    assert result.count("half", "bytes") == brute_force(MODELS["bright"], 0.13)


def sized(*shape, classes=2):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)])


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        ({}, MODELS, "a source and a target. Received: 0 and 3"),
        (MODELS, {}, "Received: 3 and 0"),
        ({"clean": Threshold(0.5)}, MODELS, "cannot be named 'clean'"),
        ({"half": Threshold(0.5)}, MODELS, "'half' names two models"),
        (MODELS, {"large": sized(28, 28, 1)}, r"'large' takes images of shape \(28, 28, 1\), but .* \(4, 4, 1\)"),
        (MODELS, {"large": Classifier(sized(28, 28, 1))}, "'large' cannot be shown the data"),
        (MODELS, {"ten": Threshold(0.5, classes=10)}, "same number of classes. Received: .*'half' 2.*'ten' 10"),
        (MODELS, {"one": sized(4, 4, 1, classes=1)}, "'one' cannot be shown the data: .*2 classes"),
        (MODELS, {"path": "model.keras"}, "'path' cannot be shown the data: .*Received: str"),
    ],
)
def test_models_must_fit_before_any_image_is_crafted(sources, targets, message, monkeypatch) -> None:
    monkeypatch.setattr(Attack, "__call__", lambda *_, **__: pytest.fail("an image was crafted"))
    with pytest.raises(UsageError, match=message):
        transfer(sources, targets, (IMAGES, LABELS), fgsm(0.1), progress=False)


def test_targeted_attacks_are_refused() -> None:
    with pytest.raises(UsageError, match="targeted=False"):
        transfer(MODELS, MODELS, (IMAGES, LABELS), fgsm(0.1, targeted=True), progress=False)


def test_progress_counts_images(capsys) -> None:
    transfer(MODELS, MODELS, (IMAGES, LABELS), fgsm(0.1))
    assert "21/21" in capsys.readouterr().err


TRANSFER = Transfer({"clean": {"a": 9, "b": 8}, "a": {"a": 1, "b": 5}}, 10, fgsm(0.1), seed=4)


def test_tables_and_files(tmp_path) -> None:
    lines = TRANSFER.markdown().splitlines()
    assert lines[0] == "| source \\ target | a | b |"
    assert lines[2:] == ["| clean | 90.00 | 80.00 |", "| a | 10.00 | 50.00 |"]
    assert {len(line.split("|")) for line in lines} == {5}
    assert "| a               | 10.00 | 50.00 |" in str(TRANSFER)
    TRANSFER.save(tmp_path / "transfer.csv")
    with open(tmp_path / "transfer.csv", newline="") as file:
        rows = {(row["source"], row["target"]): row for row in csv.DictReader(file)}
    assert rows["a", "b"]["standing"] == "5"
    assert float(rows["clean", "a"]["accuracy"]) == 0.9
    assert (float(rows["a", "b"]["low"]), float(rows["a", "b"]["high"])) == wilson_interval(5, 10)
    record = json.loads(json.dumps(TRANSFER.to_dict()))
    assert (record["images"], record["seed"], record["attack"]["eps"], len(record["rows"])) == (10, 4, 0.1, 4)


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="Unknown source 'c'"):
        TRANSFER.count("c", "a")
    with pytest.raises(UsageError, match="Unknown target 'clean'"):
        TRANSFER.count("a", "clean")
