"""The evaluation of a model from a file: what it writes, and mistakes found before any work."""

import datetime
import importlib.resources
import json
import pathlib
from collections.abc import Callable

import jsonschema
import keras
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from racl_tf.attacks import APGD
from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.files import read_table
from racl_tf.runs.evaluate import corruption_errors, run_evaluation

Settings = Callable[..., ConfigDict]


def test_an_evaluation_of_a_model_from_a_file(
    flag_settings: Settings, models: dict[str, str], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = flag_settings(model=models["one"], dataset="digits", images="60", eps="1/20", attacks="fgsm,apgd")
    with caplog.at_level("INFO", "racl_tf"):
        evaluation, masking = run_evaluation(config, str(tmp_path))
    _, *lines, last = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in lines] == ["fgsm", "apgd"]
    assert last == "Signs of gradient masking are looked for on 60 images."
    assert masking is not None
    assert evaluation.count("clean") > evaluation.count("fgsm") >= evaluation.count("apgd")
    assert evaluation.attacks["apgd"] == (APGD(0.05),)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert (results["dataset"], results["model"], results["images"]) == ("digits", models["one"], 60)
    assert (results["norm"], results["eps"]) == ("linf", 0.05)
    assert datetime.datetime.fromisoformat(results["date"]).tzinfo is not None
    outcomes = np.load(tmp_path / "evaluate/outcomes.npz", allow_pickle=False)
    robust = (outcomes["labels"] == outcomes["predictions"]) & (outcomes["fgsm/steps"] < 0)
    assert robust.sum() == evaluation.count("fgsm")

    config = flag_settings(model=models["one"], dataset="digits", images="60", eps="1/10", attacks="fgsm,apgd")
    with pytest.raises(UsageError, match=r"begun with other settings: attack.eps was 0\.05"):
        run_evaluation(config, str(tmp_path))

    (tmp_path / "evaluate/results.json").write_text("")
    config = flag_settings(model=models["one"], dataset="digits", images="60", eps="1/20", attacks="fgsm,apgd")
    with pytest.raises(UsageError, match=r"results\.json' is damaged: .* Remove it to have it made again"):
        run_evaluation(config, str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"attacks": "fgms"}, "Did you mean 'fgsm'"),
        ({"norm": "l1"}, "Unknown norm 'l1'"),
        ({"eps": "8"}, r"`eps`.*\(0, 1\].*Received: eps=8"),
        ({"eps": "-1/255"}, "`eps`"),
        ({"bounds": "255,0"}, "two rising numbers"),
        ({"model": "missing.keras"}, "no model 'missing.keras'"),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
        ({"bounds": "0,1", "dataset": "DIGITS16"}, r"does not take images of shape \(16, 16, 1\)"),
        ({"attacks": ""}, "nothing to attack by"),
    ],
    ids=str,
)
def test_mistakes_are_found_before_any_work(
    refuses: Callable, flags: dict[str, str], message: str, tmp_path: pathlib.Path
) -> None:
    if flags.get("dataset") == "DIGITS16":
        archive = tmp_path / "larger.npz"
        np.savez(archive, x=np.zeros([200, 16, 16, 1], np.uint8), y=np.arange(200) % 2)
        flags = flags | {"dataset": str(archive)}
    refuses(run_evaluation, message, **{"model": "ONE"} | flags)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_are_attacked_on_the_margin_by_name(
    classes: int, flag_settings: Settings, tmp_path: pathlib.Path
) -> None:
    """The error of the DLR loss names what to give instead, and that can be given."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(10 * classes, 4, 4, 1)).astype("float32"), np.arange(10 * classes) % classes
    np.savez(tmp_path / "few.npz", x=x, y=y)
    start = keras.initializers.GlorotUniform(1)
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(classes, kernel_initializer=start)]
    )
    model.save(tmp_path / "few.keras")
    given = {"dataset": str(tmp_path / "few.npz"), "model": str(tmp_path / "few.keras"), "eps": "1/2"}
    for name in ("autoattack", "apgd_t"):
        with pytest.raises(
            UsageError, match=f"needs at least 4 classes.*model of {classes}.*by name autoattack_margin"
        ):
            run_evaluation(flag_settings(attacks=name, **given), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    config = flag_settings(attacks="apgd_margin5,apgd_t_margin5,autoattack_margin", **given)
    config.evaluate.check_images = 0
    evaluation, _ = run_evaluation(config, str(tmp_path / "run"))
    assert [attack.loss for attack in evaluation.attacks["autoattack_margin"]] == ["cross_entropy", "margin", "", ""]
    assert evaluation.count("autoattack_margin") <= evaluation.count("apgd_t_margin5") <= evaluation.count("clean")


def test_signs_of_masking_are_not_looked_for_in_a_model_near_chance(
    flag_settings: Settings, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "relu", False)])
    model.set_weights([np.zeros([64, 10])])
    model.save(tmp_path / "constant.keras")
    flags = {"model": str(tmp_path / "constant.keras"), "dataset": "digits", "images": "40", "attacks": "fgsm"}
    for _ in range(2):
        _, masking = run_evaluation(flag_settings(**flags), str(tmp_path / "run"))
        assert masking is None
    assert "Signs of gradient masking are not looked for" in caplog.text


def test_outcomes_lead_back_to_the_files_of_images(flag_settings: Settings, tmp_path: pathlib.Path) -> None:
    for name, darkest in (("dark", 20), ("light", 220)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((4, 4), darkest + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([np.outer(np.ones(16), [-1, 1]), np.array([8.0, -8.0])])  # light from a mean of 1/2 on
    model.save(tmp_path / "mean.keras")
    flags = {"model": str(tmp_path / "mean.keras"), "dataset": str(tmp_path / "photos"), "attacks": "fgsm"}
    config = flag_settings(**flags, eps="0.37")
    config.evaluate.check_images = 0
    run_evaluation(config, str(tmp_path / "run"))
    rows = read_table(tmp_path / "run/evaluate/images.csv")
    assert len(rows) == 4  # a fifth is held out for testing
    for row in rows:
        name, stem = row["file"].removesuffix(".png").split("/")
        level = int(stem) + (20 if name == "dark" else 220)
        stands = abs(level / 255 - 0.5) > 0.37
        assert (row["class"], row["predicted"]) == (name, name)
        assert row["fgsm"] == ("robust" if stands else "adversarial")


def test_corruptions_are_written_into_results_and_a_table(
    flag_settings: Settings, models: dict[str, str], tmp_path: pathlib.Path
) -> None:
    test = load_dataset("digits").test
    images = np.round(255 * test.images(np.arange(20))).astype(np.uint8)
    np.save(tmp_path / "clean.npy", np.tile(images, (5, 1, 1, 1)))
    np.save(tmp_path / "black.npy", np.zeros((100, 8, 8, 1), np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(test.y[:20], 5))
    (tmp_path / "baseline.json").write_text(json.dumps({"clean": [0.5] * 5, "black": [1.0] * 5}))
    flags = {
        "model": models["one"],
        "dataset": "digits",
        "images": "20",
        "attacks": "fgsm",
        "corruptions": str(tmp_path),
    }
    config = flag_settings(**flags, baseline=str(tmp_path / "baseline.json"))
    config.evaluate.check_images = 0
    for _ in range(2):  # the second time they are read
        run_evaluation(config, str(tmp_path / "run"))
        results = json.loads((tmp_path / "run/evaluate/results.json").read_text())
        found = results["corruptions"]
        accuracies = np.array([row["accuracy"] for row in found["rows"]])
        black, clean = 1 - accuracies[:5], 1 - accuracies[5:]
        assert found["mean_error"] == pytest.approx((clean.mean() + black.mean()) / 2)
        assert found["mean_corruption_error"] == pytest.approx((clean.sum() / 2.5 + black.sum() / 5) / 2)
        errors = corruption_errors(str(tmp_path / "run"))
        assert errors is not None
        assert errors.to_dict() == found
    schema = json.loads(importlib.resources.files("racl_tf.evaluation").joinpath("results.schema.json").read_text())
    jsonschema.validate(results, schema)
    rows = read_table(tmp_path / "run/evaluate/corruptions.csv")
    assert [row["corruption"] for row in rows] == ["black"] * 5 + ["clean"] * 5
    assert [int(row["correct"]) for row in rows] == [row["correct"] for row in found["rows"]]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"corruptions": "missing"}, "'missing' does not hold corrupted images"),
        ({"baseline": "errors.json"}, "Give --corruptions=FOLDER too"),
    ],
    ids=str,
)
def test_mistakes_with_corruptions_are_found_before_any_work(
    refuses: Callable, flags: dict[str, str], message: str
) -> None:
    refuses(run_evaluation, message, **{"model": "ONE"} | flags)
