"""The evaluation of a model from a file: what it writes, and mistakes found before any work."""

import datetime
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.attacks import APGD
from racl_tf.errors import UsageError
from racl_tf.runs.evaluate import run_evaluation

Settings = Callable[..., ConfigDict]


def test_an_evaluation_of_a_model_from_a_file(
    flag_settings: Settings, models: dict[str, str], tmp_path: pathlib.Path
) -> None:
    config = flag_settings(model=models["one"], dataset="digits", images="60", eps="1/20", attacks="fgsm,apgd")
    evaluation, masking = run_evaluation(config, str(tmp_path))
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
