"""Evaluations of a model for which it is known which image is robust to what."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf import seeding
from racl_tf.attacks import NORMS, Attack, fgsm, image_seeds, make_attack, mim, pgd
from racl_tf.data import ImageSet
from racl_tf.errors import UsageError
from racl_tf.evaluation import evaluate, robustness
from racl_tf.evaluation.attack_loop import run_attack
from racl_tf.evaluation.results import Plan


class Threshold(keras.Model):
    """Class 1 where the mean of the pixels exceeds a half; an image is robust up to eps = |mean - 1/2|."""

    def call(self, x):
        score = 10 * (keras.ops.mean(x, axis=(1, 2, 3)) - 0.5)
        return keras.ops.stack([keras.ops.zeros_like(score), score], axis=1)


class Band(keras.Model):
    """Class 1 where 0.5 < x < 0.6, so that a step can be too long as well as too short."""

    def call(self, x):
        score = 10 * (0.05 - keras.ops.abs(x[:, 0] - 0.55))
        return keras.ops.stack([keras.ops.zeros_like(score), score], axis=1)


BRIGHTNESS = np.array([0.45, 0.35, 0.2, 0.55, 0.65, 0.8, 0.45])
LABELS = np.array([0, 0, 0, 1, 1, 1, 1])  # the last one is misclassified
IMAGES = np.broadcast_to(BRIGHTNESS[:, None, None, None], (7, 4, 4, 1)).astype(np.float32)
ATTACKS = {"weak": fgsm(0.1), "strong": pgd(0.2, 0.1, 20), "l2": pgd(0.4, 0.1, 10, norm="l2")}


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_each_image_is_misclassified_at_its_distance(batch_size) -> None:
    """In L2 the distance is that in L-infinity times the root of the number of pixels, 4: 0.2, 0.6, 1.2."""
    result = evaluate(Threshold(), (IMAGES, LABELS), ATTACKS, batch_size=batch_size, progress=False)
    assert {name: row.astype(int).tolist() for name, row in result.correct.items()} == {
        "clean": [1, 1, 1, 1, 1, 1, 0],
        "weak": [0, 1, 1, 0, 1, 1, 0],
        "strong": [0, 0, 1, 0, 0, 1, 0],
        "l2": [0, 1, 1, 0, 1, 1, 0],
    }
    assert result.worst_case.sum() == 2
    assert result.attacks == {name: (attack,) for name, attack in ATTACKS.items()}


def test_worst_case_is_per_image() -> None:
    """0.45 is misclassified after the short step, 0.3 after the long one, 0.1 after none."""
    x = np.array([[0.45], [0.3], [0.1]], np.float32)
    attacks = {"short": fgsm(0.1), "long": fgsm(0.25)}
    result = evaluate(Band(), (x, np.zeros(3, int)), attacks, progress=False)
    np.testing.assert_array_equal(result.correct["short"], [False, True, True])
    np.testing.assert_array_equal(result.correct["long"], [True, False, True])
    np.testing.assert_array_equal(result.worst_case, [False, False, True])


class Wavy(keras.layers.Layer):
    """A fixed random network of two layers on 6 pixels and 3 classes, which counts the images it is shown."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(2)
        self.first, self.second = (rng.normal(size=shape).astype(np.float32) for shape in ((6, 16), (16, 3)))
        self.shown = tf.Variable(0, trainable=False)

    def call(self, x):
        self.shown.assign_add(tf.shape(x)[0])
        return tf.sin(4 * x @ self.first) @ self.second


PIXELS = np.random.default_rng(3).random((60, 6), np.float32)


@pytest.fixture
def wavy():
    """The network, and images of which all but the last 10 are classified correctly."""
    model = Wavy()
    predicted = model(PIXELS).numpy().argmax(axis=1)
    return model, (PIXELS, np.where(np.arange(60) < 50, predicted, (predicted + 1) % 3).astype(np.int32))


@pytest.mark.parametrize("batch_size", [7, 60])
@pytest.mark.parametrize(
    "attack", [pgd(0.06, 0.01, 12), mim(0.06, 0.01, 12), pgd(0.1, 0.02, 30, norm="l2")], ids=("pgd", "mim", "l2")
)
def test_an_adversarial_image_is_the_first_misclassified_step(wavy, attack, batch_size) -> None:
    """The attack on the image alone, of 1, 2, ... steps, says at which step; its noise does not depend on the steps."""
    model, (x, y) = wavy
    evaluation = evaluate(model, (x, y), {"attack": attack}, batch_size=batch_size, seed=5, progress=False)
    expected = np.full(60, -1)
    for index in range(50):
        if attack.random_start:
            seeds = image_seeds(seeding.fold(5, "attack"), [index])
            start = x[index : index + 1] + NORMS[attack.norm].start(seeds, tf.constant(x[:1]), attack.eps)
            if model(np.clip(start, 0, 1)).numpy().argmax() != y[index]:
                expected[index] = 0
                continue
        for steps in range(1, attack.steps + 1):
            weaker = replace(attack, steps=steps)
            moved = weaker(model, x[index : index + 1], y[index : index + 1], seed=5, index=[index])
            if model(moved).numpy().argmax() != y[index]:
                expected[index] = steps
                break
    assert len(set(expected)) > 4  # the case is not trivial
    np.testing.assert_array_equal(evaluation.outcomes["attack"].steps[:50], expected[:50])
    np.testing.assert_array_equal(evaluation.correct["attack"], (expected == -1) & (np.arange(60) < 50))


def test_restarts_go_on_with_what_is_robust(wavy) -> None:
    """Each restart is the attack with seeds of its own, and breaks more."""
    model, data = wavy
    attacks = {str(restarts): pgd(0.05, 0.02, 3, restarts=restarts) for restarts in (1, 2, 8)}
    evaluation = evaluate(model, data, attacks, batch_size=16, progress=False)
    one, two, eight = (evaluation.outcomes[name] for name in attacks)
    assert one.is_robust[:50].sum() > two.is_robust[:50].sum() > eight.is_robust[:50].sum()
    for fewer, more, restarts in ((one, two, 1), (two, eight, 2)):
        agree = more.passed < restarts
        np.testing.assert_array_equal(~fewer.is_robust[:50], agree[:50])
        np.testing.assert_array_equal(fewer.steps[:50][agree[:50]], more.steps[:50][agree[:50]])
    np.testing.assert_array_equal(eight.passed[:50][eight.is_robust[:50]], 8)


def test_an_ensemble_attacks_what_is_robust_to_the_attack_before(wavy) -> None:
    model, data = wavy
    first, second = fgsm(0.06), pgd(0.06, 0.01, 12)
    alone = evaluate(model, data, {"first": first, "second": second}, batch_size=16, progress=False)
    together = evaluate(model, data, {"both": (first, second)}, batch_size=16, progress=False)
    np.testing.assert_array_equal(together.correct["both"], alone.worst_case)
    passed = together.outcomes["both"].passed[:50]
    np.testing.assert_array_equal(passed >= 1, alone.outcomes["first"].is_robust[:50])
    np.testing.assert_array_equal(passed == 2, alone.worst_case[:50])


def test_what_is_adversarial_costs_no_more(wavy) -> None:
    """The images shown are those of the steps that each image withstood and one more, but for the last batches."""
    model, data = wavy
    evaluate(model, data, {}, progress=False)
    model.shown.assign(0)
    steps = (
        evaluate(model, data, {"pgd": pgd(0.06, 0.005, 100)}, batch_size=8, progress=False).outcomes["pgd"].steps[:50]
    )
    needed = np.where(steps < 0, 101, steps + 1).sum() + 60 + 3  # the clean images, and those of the model's check
    assert needed < 0.7 * 50 * 100
    assert needed <= model.shown.numpy() <= 1.1 * needed + 8 * 100


def test_an_interrupted_evaluation_continues(wavy, tmp_path, monkeypatch) -> None:
    model, data = wavy
    attacks: dict[str, Attack | Plan] = {
        "fgsm": fgsm(0.02),
        "both": (pgd(0.03, 0.01, 10, restarts=2), mim(0.06, 0.01, 5)),
    }
    options: dict[str, Any] = {"batch_size": 8, "seed": 3, "progress": False}
    whole = evaluate(model, data, attacks, **options)
    cost = model.shown.numpy()
    model.shown.assign(0)

    def interrupted(*args, **kwargs):
        for count, value in enumerate(run_attack(*args, **kwargs)):
            yield value
            if count == 20:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(robustness, "run_attack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, data, attacks, folder=tmp_path, **options)
    begun = evaluate(model, data, attacks, folder=tmp_path, **options)
    for name in attacks:
        for one, other in zip(whole.outcomes[name], begun.outcomes[name], strict=True):
            np.testing.assert_array_equal(one, other)
    assert model.shown.numpy() < 1.5 * cost

    model.shown.assign(0)
    assert str(evaluate(model, data, attacks, folder=tmp_path, **options)) == str(whole)
    assert model.shown.numpy() <= 64  # the clean images once more, in whole batches


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "other attacks, another seed"),
        ({"attacks": {"fgsm": fgsm(0.03)}}, "other attacks"),
        ({"data": (PIXELS[::-1].copy(), np.zeros(60, int))}, "another model or other images"),
    ],
    ids=("seed", "attack", "data"),
)
def test_a_folder_of_another_evaluation_is_refused(wavy, tmp_path, change, message) -> None:
    model, data = wavy
    request = {"data": data, "attacks": {"fgsm": fgsm(0.02)}, "seed": 0}
    evaluate(model, **request, folder=tmp_path, progress=False)
    before = (tmp_path / "outcomes.npz").read_bytes()
    with pytest.raises(UsageError, match=rf"{message}.*Choose another folder"):
        evaluate(model, **(request | change), folder=tmp_path, progress=False)
    assert (tmp_path / "outcomes.npz").read_bytes() == before


def test_a_file_that_holds_no_outcomes_is_refused(wavy, tmp_path) -> None:
    (tmp_path / "outcomes.npz").write_text("no")
    with pytest.raises(UsageError, match=r"not an \.npz file"):
        evaluate(wavy[0], wavy[1], {"fgsm": fgsm(0.02)}, folder=tmp_path, progress=False)


def test_image_set_equals_its_arrays() -> None:
    pixels = np.round(255 * IMAGES).astype(np.uint8)
    data = ImageSet(pixels, LABELS.astype(np.int32))
    attacks = {"fgsm": fgsm(0.1)}
    from_set = evaluate(Threshold(), data, attacks, progress=False)
    from_arrays = evaluate(Threshold(), (pixels / 255, LABELS), attacks, progress=False)
    for name, row in from_set.correct.items():
        np.testing.assert_array_equal(row, from_arrays.correct[name])


def test_standard_suite_by_default() -> None:
    result = evaluate(Threshold(), (IMAGES, LABELS), progress=False)
    assert result.names == ("clean", "fgsm", "mim", "pgd10", "pgd20", "pgd100", "worst_case")
    assert result.attacks["pgd20"] == make_attack("pgd20", 8 / 255, 2 / 255)


def test_nothing_correct_means_nothing_attacked() -> None:
    result = evaluate(Threshold(), (IMAGES[:3], np.ones(3, int)), ATTACKS, progress=False)
    assert not any(row.any() for row in result.correct.values())


def test_progress_shows_the_robust_accuracy(capsys) -> None:
    evaluate(Threshold(), (IMAGES, LABELS), {"weak": fgsm(0.1)}, batch_size=3)
    assert "weak: 100%" in (shown := capsys.readouterr().err)
    assert "robust=57.14%" in shown  # 4 of 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": {"clean": fgsm(0.1)}}, "cannot be named 'clean'"),
        ({"attacks": {"worst_case": fgsm(0.1)}}, "cannot be named 'worst_case'"),
        ({"attacks": {"t": fgsm(0.1, targeted=True)}}, "'t' is targeted.*targeted=False"),
        ({"attacks": {"none": ()}}, r"'none' must be an attack or a tuple of attacks. Received: \(\)"),
        ({"attacks": {"fgsm": "fgsm"}}, "'fgsm' must be an attack"),
        ({"attacks": {"ok": fgsm(0.1), "dlr": pgd(0.1, 0.1, 1, loss="dlr")}}, "dlr.*needs at least 3 classes"),
        ({"batch_size": 0}, "`batch_size`.*Received: 0"),
    ],
)
def test_invalid_requests(options, message) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(Threshold(), (IMAGES, LABELS), progress=False, **options)


def test_labels_of_another_dataset() -> None:
    with pytest.raises(UsageError, match=r"below the number of classes, 2. Received: a label 9"):
        evaluate(Threshold(), (IMAGES, LABELS + 8), progress=False)
