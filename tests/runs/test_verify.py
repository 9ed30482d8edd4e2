"""The program that recounts: of an evaluation as it is made, with the status that tells."""

import pathlib
from collections.abc import Callable

import pytest
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.verify import run_verification


def test_an_evaluation_is_recounted(
    flag_settings: Callable[..., ConfigDict], models: dict[str, str], tmp_path: pathlib.Path, run: Callable
) -> None:
    flags = {"model": models["one"], "dataset": "digits", "images": "60", "eps": "1/20", "attacks": "fgsm,apgd10"}
    config = flag_settings(**flags)
    config.evaluate.check_images = 0
    evaluation, _ = run_evaluation(config, str(tmp_path))
    bundle = tmp_path / "evaluate/bundle"
    assert not bundle.exists()
    config.evaluate.keep_adversarial = True  # which may be asked for afterwards
    run_evaluation(config, str(tmp_path))
    again = run_verification(str(bundle), models["one"])
    assert again.count("apgd10") == evaluation.count("apgd10") < evaluation.count("clean")

    told = run("verify", str(bundle), f"--model={models['one']}")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"All holds: {evaluation.count('clean') - evaluation.count('worst_case')} adversarial images" in told.stdout
    told = run("verify", str(bundle), f"--model={models['other']}")
    assert told.returncode == 1
    assert "results.json' is of another model" in " ".join(told.stderr.split())
    with pytest.raises(UsageError, match="another model"):  # whose inputs are others
        run_verification(str(bundle), models["one"], (0, 255))
    assert bundle.joinpath("results.json").read_bytes() == (tmp_path / "evaluate/results.json").read_bytes()
