"""The figures of a small evaluation whose outcome is written by hand."""

import importlib.resources
import json
from dataclasses import asdict

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import fgsm, pgd
from racl_tf.attacks.apgd import APGD
from racl_tf.errors import UsageError
from racl_tf.evaluation import AttackOutcomes, Evaluation, wilson_interval
from racl_tf.version import __version__


def outcomes(robust):
    """One run each; adversarial images are found after 3 steps."""
    return AttackOutcomes(np.array(robust, np.int32), np.where(robust, -1, 3).astype(np.int32))


@pytest.fixture
def evaluation():
    """5 images, the last one misclassified."""
    return Evaluation(
        np.array([0, 1, 2, 3, 4], np.int32),
        np.array([0, 1, 2, 3, 0], np.int32),
        5,
        {"fgsm": outcomes([1, 1, 0, 1, 1]), "pgd20": outcomes([1, 0, 1, 1, 0])},
        {"fgsm": (fgsm(0.1),), "pgd20": (pgd(0.1, 0.02, 20),)},
        seed=7,
    )


def test_figures(evaluation) -> None:
    np.testing.assert_array_equal(evaluation.worst_case, [True, False, False, True, False])
    assert [evaluation.count(name) for name in ("clean", "fgsm", "pgd20", "worst_case")] == [4, 3, 3, 2]
    assert evaluation.accuracy() == 0.8
    assert evaluation.accuracy("worst_case") == 0.4
    assert evaluation.success_rate("fgsm") == 0.25
    assert evaluation.success_rate("worst_case") == 0.5
    assert evaluation.interval("fgsm") == wilson_interval(3, 5)


def test_unknown_name(evaluation) -> None:
    with pytest.raises(UsageError, match=r"Unknown attack 'pgd10'. Did you mean 'pgd20'"):
        evaluation.accuracy("pgd10")


def test_results_file(evaluation, tmp_path) -> None:
    evaluation.save(tmp_path / "results.json")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["images"] == 5
    assert results["seed"] == 7
    assert results["versions"] == {"racl_tf": __version__, "tensorflow": tf.__version__, "keras": keras.__version__}
    assert list(results["results"]) == ["clean", "fgsm", "pgd20", "worst_case"]
    fgsm_row = results["results"]["fgsm"]
    assert fgsm_row.pop("attacks") == [{"kind": "GradientAttack", **asdict(fgsm(0.1)), "correct_after": 3}]
    assert fgsm_row == {
        "correct": 3, "accuracy": 0.6, "success_rate": 0.25, "interval": list(wilson_interval(3, 5))
    }  # fmt: skip


def test_no_rate_among_no_images() -> None:
    wrong = np.ones(3, np.int32)
    none = Evaluation(0 * wrong, wrong, 2, {"fgsm": outcomes([1, 1, 0])}, {"fgsm": (fgsm(0.1),)}, seed=0)
    assert none.count("fgsm") == 0
    assert np.isnan(none.success_rate("fgsm"))
    assert none.to_dict()["results"]["fgsm"]["success_rate"] is None


def test_text(evaluation) -> None:
    lines = str(evaluation).splitlines()
    rows = {cells[0]: cells[1:] for cells in (line.strip("|").replace("|", " ").split() for line in lines)}
    assert rows["clean"] == ["4", "80.00", "37.55", "to", "96.38"]
    assert rows["worst_case"] == ["2", "40.00", "11.76", "to", "76.93", "50.00"]
    assert str(evaluation).isascii()


@pytest.fixture
def ensemble():
    """4 images under two attacks, the first on 2 targets: misclassified in run 1, 2, the second attack's run, never."""
    return Evaluation(
        np.arange(4, dtype=np.int32),
        np.arange(4, dtype=np.int32),
        3,
        {"both": AttackOutcomes(np.array([0, 1, 2, 3], np.int32), np.array([5, 0, 9, -1], np.int32))},
        {"both": (APGD(0.1, targets=9), pgd(0.1, 0.02, 20, restarts=1))},
        seed=0,
    )


def test_an_ensemble_says_what_is_robust_after_each_attack(ensemble) -> None:
    """With 3 classes there are 2 targets, so the first attack has 2 runs."""
    assert ensemble.stages("both") == [2, 1]
    rows = {
        cells[0]: cells[1]
        for cells in (line.strip("| ").split("|") for line in str(ensemble).splitlines())
        if len(cells) > 1
    }
    rows = {name.strip(): count.strip() for name, count in rows.items()}
    assert rows["after APGD cross_entropy targeted"] == "2"
    assert rows["after GradientAttack cross_entropy"] == rows["both"] == "1"
    attacks = ensemble.to_dict()["results"]["both"]["attacks"]
    assert [(row["kind"], row["correct_after"]) for row in attacks] == [("APGD", 2), ("GradientAttack", 1)]


def test_results_conform_to_the_schema(evaluation, ensemble) -> None:
    schema = json.loads(importlib.resources.files("racl_tf.evaluation").joinpath("results.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for results in (evaluation, ensemble):
        jsonschema.validate(json.loads(json.dumps(results.to_dict())), schema)
    broken = json.loads(json.dumps(ensemble.to_dict()))
    broken["results"]["both"]["accuracy"] = 1.5
    with pytest.raises(jsonschema.ValidationError, match=r"1\.5"):
        jsonschema.validate(broken, schema)
