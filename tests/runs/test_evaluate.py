"""The programs that attack a model from a file: their flags, what they write, and mistakes found before any work."""

import json
import pathlib

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.attacks import APGD
from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.files import read_table
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.flags import ATTACKS, MODEL, SWEEP, THREAT, TRANSFER
from racl_tf.runs.sweep import run_sweep
from racl_tf.runs.transfer import run_transfer
from racl_tf.settings import paper_settings


def settings(**flags: str) -> ConfigDict:
    """Returns the paper's settings as changed by flags."""
    config = paper_settings()
    for name, text in flags.items():
        next(table[name] for table in (MODEL, THREAT, ATTACKS, SWEEP, TRANSFER) if name in table).apply(config, text)
    return config


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two linear classifiers of the digits, trained for a moment, by name."""
    folder, train = tmp_path_factory.mktemp("models"), load_dataset("digits").train
    paths = {}
    for seed, name in enumerate(("one", "other")):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(train.images(), train.y, batch_size=64, epochs=5, verbose=0)
        paths[name] = str(folder / f"{name}.keras")
        model.save(paths[name])
    return paths


def test_flags_change_settings() -> None:
    config = settings(
        model="a.keras", dataset="digits", data_dir="there", images="50", bounds="0,255", norm="l2", eps="16/255",
        attacks="fgsm, pgd20",
    )  # fmt: skip
    assert (config.evaluate.model, config.data.name, config.data.data_dir) == ("a.keras", "digits", "there")
    assert config.data.test_size == 50
    assert config.evaluate.bounds == (0.0, 255.0)
    assert config.evaluate.attacks == ("fgsm", "pgd20")
    assert (config.attack.norm, config.attack.eps, config.attack.step_size) == ("l2", 16 / 255, 4 / 255)


def test_an_evaluation_of_a_model_from_a_file(models: dict[str, str], tmp_path: pathlib.Path) -> None:
    config = settings(model=models["one"], dataset="digits", images="60", eps="1/20", attacks="fgsm,apgd")
    evaluation, findings = run_evaluation(config, str(tmp_path))
    assert findings is not None
    assert evaluation.count("clean") > evaluation.count("fgsm") >= evaluation.count("apgd")
    assert evaluation.attacks["apgd"] == (APGD(0.05),)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert (results["dataset"], results["model"], results["images"]) == ("digits", models["one"], 60)
    outcomes = np.load(tmp_path / "evaluate/outcomes.npz", allow_pickle=False)
    stands = (outcomes["labels"] == outcomes["predictions"]) & (outcomes["fgsm/steps"] < 0)
    assert stands.sum() == evaluation.count("fgsm")

    config = settings(model=models["one"], dataset="digits", images="60", eps="1/10", attacks="fgsm,apgd")
    with pytest.raises(UsageError, match=r"begun with other settings: attack.eps was 0\.05"):
        run_evaluation(config, str(tmp_path))

    (tmp_path / "evaluate/results.json").write_text("")
    config = settings(model=models["one"], dataset="digits", images="60", eps="1/20", attacks="fgsm,apgd")
    with pytest.raises(UsageError, match=r"results\.json' is damaged: .* Remove it to have it made again"):
        run_evaluation(config, str(tmp_path))


def test_a_sweep(models: dict[str, str], tmp_path: pathlib.Path) -> None:
    config = settings(
        model=models["one"],
        dataset="digits",
        images="60",
        eps="1/20",
        attacks="fgsm",
        epsilons="1/50,1/20,1/4",
        steps="1,5",
    )
    config.sweep.attacks = ("fgsm", "pgd5")
    sweeps = run_sweep(config, str(tmp_path))
    assert list(sweeps) == ["fgsm over eps", "pgd5 over eps", "pgd over steps"]
    for name, sweep in sweeps.items():
        rows = read_table(tmp_path / f"sweep/{name.replace(' ', '_')}.csv")
        assert [int(row["standing"]) for row in rows] == list(sweep.standing)
        assert sweep.clean > sweep.standing[0] >= sweep.standing[-1]
    for picture in ("eps.png", "steps.png"):
        assert (tmp_path / "sweep" / picture).read_bytes().startswith(b"\x89PNG")
    assert {path: sweep.standing for path, sweep in run_sweep(config, str(tmp_path)).items()} == {
        path: sweep.standing for path, sweep in sweeps.items()
    }


def test_a_transfer(models: dict[str, str], tmp_path: pathlib.Path) -> None:
    named = ",".join(f"{name}={path}" for name, path in models.items())
    config = settings(dataset="digits", images="60", eps="1/20", models=named, sources="other", attack="pgd5")
    result = run_transfer(config, str(tmp_path))
    assert result.targets == ("one", "other")
    for target in ("one", "other"):
        assert result.count("clean", target) > result.count("other", target)
    rows = read_table(tmp_path / "transfer/transfer.csv")
    assert {(row["source"], row["target"]) for row in rows} >= {("clean", "one"), ("other", "one"), ("other", "other")}
    assert (tmp_path / "transfer/transfer.md").read_text().startswith("| source")
    assert (tmp_path / "transfer/transfer.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("run", "flags", "message"),
    [
        (run_evaluation, {"attacks": "fgms"}, "Did you mean 'fgsm'"),
        (run_evaluation, {"norm": "l1"}, "Unknown norm 'l1'"),
        (run_evaluation, {"eps": "8"}, r"`eps`.*\(0, 1\].*Received: eps=8"),
        (run_evaluation, {"eps": "-1/255"}, "`eps`"),
        (run_evaluation, {"bounds": "255,0"}, "two rising numbers"),
        (run_evaluation, {"model": "missing.keras"}, "no model 'missing.keras'"),
        (run_evaluation, {"dataset": "digit"}, "Did you mean 'digits'"),
        (run_evaluation, {"bounds": "0,1", "dataset": "DIGITS16"}, r"does not take images of shape \(16, 16, 1\)"),
        (run_evaluation, {"attacks": ""}, "nothing to attack by"),
        (run_sweep, {"epsilons": "0.2,0.1"}, "rising"),
        (run_sweep, {"steps": ""}, r"`steps` must be one number or several rising ones. Received: \[\]"),
        (run_transfer, {}, "no models to compare"),
        (run_transfer, {"models": "one"}, "NAME=PATH"),
        (run_transfer, {"models": "ONE", "sources": "two"}, "Unknown source 'two'"),
        (run_transfer, {"models": "ONE", "attack": "autoattack"}, "ensemble 'autoattack'"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_mistakes_are_found_before_any_work(run, flags, message, models, tmp_path) -> None:  # type: ignore[no-untyped-def]
    flags = (
        {"dataset": "digits", "images": "20"} | ({"model": models["one"]} if run is not run_transfer else {}) | flags
    )
    flags = {name: text.replace("ONE", f"one={models['one']}") for name, text in flags.items()}
    if flags["dataset"] == "DIGITS16":
        archive = tmp_path / "larger.npz"
        np.savez(archive, x=np.zeros([200, 16, 16, 1], np.uint8), y=np.arange(200) % 2)
        flags["dataset"] = str(archive)
    with pytest.raises(UsageError, match=message):
        run(settings(**flags), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
