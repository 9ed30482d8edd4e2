"""Evaluations of a model for which it is known which image falls to what."""

import keras
import numpy as np
import pytest

from racl_tf.attacks import Attack, by_name, fgsm, pgd
from racl_tf.attacks.compiled import compiled
from racl_tf.data import ImageSet
from racl_tf.errors import UsageError
from racl_tf.evaluation import evaluate


class Threshold(keras.Model):
    """Class 1 where the mean of the pixels exceeds a half; an image falls at eps = |mean - 1/2|."""

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
def test_each_image_falls_at_its_distance(batch_size):
    """In L2 the distance is that in L-infinity times the root of the number of pixels, 4: 0.2, 0.6, 1.2."""
    result = evaluate(Threshold(), (IMAGES, LABELS), ATTACKS, batch_size=batch_size, progress=False)
    assert {name: row.astype(int).tolist() for name, row in result.correct.items()} == {
        "clean": [1, 1, 1, 1, 1, 1, 0],
        "weak": [0, 1, 1, 0, 1, 1, 0],
        "strong": [0, 0, 1, 0, 0, 1, 0],
        "l2": [0, 1, 1, 0, 1, 1, 0],
    }
    assert result.worst_case.sum() == 2
    assert result.attacks == ATTACKS


def test_worst_case_is_per_image():
    """0.45 falls to the short step, 0.3 to the long one, 0.1 to none."""
    x = np.array([[0.45], [0.3], [0.1]], np.float32)
    attacks = {"short": fgsm(0.1), "long": fgsm(0.25)}
    result = evaluate(Band(), (x, np.zeros(3, int)), attacks, progress=False)
    np.testing.assert_array_equal(result.correct["short"], [False, True, True])
    np.testing.assert_array_equal(result.correct["long"], [True, False, True])
    np.testing.assert_array_equal(result.worst_case, [False, False, True])


def test_noise_belongs_to_the_image_not_to_its_batch(monkeypatch):
    """What each image was attacked with is the same for every batch size, and equal to the attack on all at once."""
    attack = pgd(0.2, 0.01, 1)
    seen = {}

    def spy(self, model, x, y, *, seed, index):
        moved = original(self, model, x, y, seed=seed, index=index)
        seen.setdefault(len(x), {}).update(zip(index.tolist(), moved, strict=True))
        return moved

    original = Attack.__call__
    monkeypatch.setattr(Attack, "__call__", spy)
    for batch_size in (2, 4):
        evaluate(Threshold(), (IMAGES, LABELS), {"pgd": attack}, batch_size=batch_size, seed=3, progress=False)
    together = original(attack, Threshold(), IMAGES, LABELS, seed=3)
    assert sorted(seen) == [2, 4]
    for images in seen.values():
        assert sorted(images) == [0, 1, 2, 3, 4, 5]
        for index, moved in images.items():
            np.testing.assert_allclose(moved, together[index], atol=1e-6)


def test_batches_of_one_size_trace_once():
    model = Threshold()
    evaluate(model, (IMAGES, LABELS), {"a": pgd(0.1, 0.1, 2), "b": pgd(0.2, 0.1, 3)}, batch_size=4, progress=False)
    assert compiled(model).ascend.experimental_get_tracing_count() == 1


def test_image_set_equals_its_arrays():
    pixels = np.round(255 * IMAGES).astype(np.uint8)
    data = ImageSet(pixels, LABELS.astype(np.int32))
    attacks = {"fgsm": fgsm(0.1)}
    from_set = evaluate(Threshold(), data, attacks, progress=False)
    from_arrays = evaluate(Threshold(), (pixels / 255, LABELS), attacks, progress=False)
    for name, row in from_set.correct.items():
        np.testing.assert_array_equal(row, from_arrays.correct[name])


def test_standard_suite_by_default():
    result = evaluate(Threshold(), (IMAGES, LABELS), progress=False)
    assert result.names == ("clean", "fgsm", "mim", "pgd10", "pgd20", "pgd100", "worst_case")
    assert result.attacks["pgd20"] == by_name("pgd20", 8 / 255, 2 / 255)


def test_nothing_correct_means_nothing_attacked():
    result = evaluate(Threshold(), (IMAGES[:3], np.ones(3, int)), ATTACKS, progress=False)
    assert not any(row.any() for row in result.correct.values())


def test_progress_shows_the_robust_accuracy(capsys):
    evaluate(Threshold(), (IMAGES, LABELS), {"weak": fgsm(0.1)}, batch_size=3)
    assert "weak: 100%" in (shown := capsys.readouterr().err)
    assert "robust=57.14%" in shown  # 4 of 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": {"clean": fgsm(0.1)}}, "cannot be named 'clean'"),
        ({"attacks": {"worst_case": fgsm(0.1)}}, "cannot be named 'worst_case'"),
        ({"attacks": {"t": fgsm(0.1, targeted=True)}}, "'t' is targeted.*targeted=False"),
        ({"batch_size": 0}, "`batch_size`.*Received: 0"),
    ],
)
def test_invalid_requests(options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(Threshold(), (IMAGES, LABELS), progress=False, **options)


def test_labels_of_another_dataset():
    with pytest.raises(UsageError, match=r"below the number of logits, 2. Received: a label 9"):
        evaluate(Threshold(), (IMAGES, LABELS + 8), progress=False)
