"""An evaluation under way: what is recorded, kept in its file and taken over from it."""

import pathlib

import keras
import numpy as np
import pytest

from racl_tf.attacks import fgsm, pgd
from racl_tf.errors import UsageError
from racl_tf.evaluation.attack_loop import NOT_FOUND, Outcome
from racl_tf.evaluation.progress import EvaluationProgress
from racl_tf.evaluation.task import EvaluationTask, prepare_task
from racl_tf.files import read_arrays, write_arrays

ATTACKS = {"fgsm": (fgsm(0.1),), "both": (pgd(0.1, 0.1, 2, restarts=2), fgsm(0.2))}


@pytest.fixture(scope="module")
def task() -> EvaluationTask:
    """4 images of 2 pixels, the first 3 of which are classified correctly as the brighter pixel."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
    return prepare_task(model, (np.array([[0.9, 0.5], [0.5, 0.9], [0.6, 0.5], [0.6, 0.5]]), np.array([0, 1, 0, 1])))


def test_outcomes_are_recorded_run_by_run(task: EvaluationTask) -> None:
    progress = EvaluationProgress(task, ATTACKS)
    assert progress.is_robust("both").tolist() == [True, True, True, False]
    for outcome in (Outcome(0, 0, NOT_FOUND), Outcome(0, 1, NOT_FOUND), Outcome(1, 0, NOT_FOUND), Outcome(1, 1, 2)):
        progress.record("both", outcome)
    assert progress.passed("both").tolist() == [2, 1, 0, 0]
    assert progress.is_robust("both").tolist() == [True, False, True, False]
    assert progress.is_robust("fgsm").tolist() == [True, True, True, False]
    outcomes = progress.finish().outcomes["both"]
    assert outcomes.steps.tolist() == [NOT_FOUND, 2, NOT_FOUND, NOT_FOUND]
    np.testing.assert_array_equal(outcomes.is_adversarial, ~outcomes.is_robust)


def test_a_finished_evaluation_does_not_change(task: EvaluationTask) -> None:
    progress = EvaluationProgress(task, ATTACKS, seed=3)
    evaluation = progress.finish()
    progress.record("fgsm", Outcome(0, 0, 1))
    assert evaluation.count("fgsm") == 3
    assert progress.finish().count("fgsm") == 2
    assert (evaluation.attacks, evaluation.seed, evaluation.classes) == (ATTACKS, 3, 2)


def test_the_file_has_arrays_by_name_and_goes_on(task: EvaluationTask, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "outcomes.npz"
    progress = EvaluationProgress(task, ATTACKS, seed=3, path=path)
    progress.record("both", Outcome(2, 0, NOT_FOUND))
    progress.record("fgsm", Outcome(1, 0, 0))
    progress.save()
    arrays = read_arrays(path)
    numbers = ["labels", "predictions", "fgsm/passed", "fgsm/steps", "both/passed", "both/steps"]
    assert set(arrays) == {*numbers, "model", "settings"}
    assert {arrays[name].dtype for name in numbers} == {np.dtype(np.int32)}
    assert str(arrays["model"]) == task.digest
    assert arrays["both/passed"].tolist() == [0, 0, 1, 0]
    assert arrays["fgsm/steps"].tolist() == [NOT_FOUND, 0, NOT_FOUND, NOT_FOUND]
    assert str(arrays["settings"]).startswith('{"attacks": {"both": [{"')
    again = EvaluationProgress(task, ATTACKS, seed=3, path=path)
    again.record("both", Outcome(2, 1, NOT_FOUND))
    assert again.passed("both").tolist() == [0, 0, 2, 0]
    assert again.is_robust("fgsm").tolist() == [True, False, True, False]


def test_a_model_of_the_same_predictions_is_another_one(task: EvaluationTask, tmp_path: pathlib.Path) -> None:
    """Its weights are 1% larger; the same weights in another model go on."""
    path = tmp_path / "outcomes.npz"
    progress = EvaluationProgress(task, ATTACKS, path=path)
    progress.record("fgsm", Outcome(1, 0, 0))
    progress.save()
    data = task.images(np.arange(4)), task.labels
    for scale in (1.01, 1.0):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        model.layers[0].kernel.assign(scale * model.layers[0].kernel.numpy())
        other = prepare_task(model, data)
        assert other.predictions.tolist() == task.predictions.tolist()
        if scale == 1:
            assert EvaluationProgress(other, ATTACKS, path=path).is_robust("fgsm").tolist() == [
                True,
                False,
                True,
                False,
            ]
        else:
            with pytest.raises(UsageError, match="another model: its graph or its weights differ, though"):
                EvaluationProgress(other, ATTACKS, path=path)


def test_a_file_of_an_earlier_version_is_made_again(task: EvaluationTask, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "outcomes.npz"
    progress = EvaluationProgress(task, ATTACKS, path=path)
    progress.record("fgsm", Outcome(1, 0, 0))
    progress.save()
    write_arrays(path, {name: values for name, values in read_arrays(path).items() if name != "model"})
    with pytest.warns(UserWarning, match="did not note its model.*made again"):
        again = EvaluationProgress(task, ATTACKS, path=path)
    assert again.is_robust("fgsm").tolist() == [True, True, True, False]


def test_a_field_that_came_later_is_no_other_attack(task: EvaluationTask, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "outcomes.npz"
    progress = EvaluationProgress(task, ATTACKS, path=path)
    progress.record("fgsm", Outcome(1, 0, 0))
    progress.save()
    arrays = read_arrays(path)
    settings = str(arrays["settings"])
    assert ', "eot": 1' in settings
    write_arrays(path, arrays | {"settings": np.array(settings.replace(', "eot": 1', ""))})
    assert EvaluationProgress(task, ATTACKS, path=path).is_robust("fgsm").tolist() == [True, False, True, False]
    write_arrays(path, arrays | {"settings": np.array(settings.replace('"eot": 1', '"eot": 2'))})
    with pytest.raises(UsageError, match="other attacks"):
        EvaluationProgress(task, ATTACKS, path=path)


def test_without_a_file_nothing_is_written(task: EvaluationTask, tmp_path: pathlib.Path) -> None:
    EvaluationProgress(task, ATTACKS).save()
    assert not any(tmp_path.iterdir())


def test_a_file_of_something_else_is_refused(task: EvaluationTask, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "outcomes.npz"
    EvaluationProgress(task, ATTACKS, seed=3, path=path).save()
    with pytest.raises(UsageError, match="begun with other attacks, another seed"):
        EvaluationProgress(task, ATTACKS, seed=4, path=path)
    write_arrays(path, read_arrays(path) | {"predictions": 1 - task.predictions})
    with pytest.raises(UsageError, match="begun with another model or other images"):
        EvaluationProgress(task, ATTACKS, seed=3, path=path)
