"""Models that hide their gradients on purpose are found out, and an honestly trained one is not."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import pgd
from racl_tf.data import Dataset, ImageSet, load_dataset
from racl_tf.errors import UsageError
from racl_tf.evaluation import check_for_masking, evaluate
from racl_tf.training.adversarial_trainer import AdversarialTrainer

EPS = 0.15
OPTIONS: dict[str, Any] = {"eps": EPS, "images": 60, "progress": False}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def trained(digits: Dataset, *, adversarially: bool, epochs: int, seed: int = 0) -> keras.Model:
    def start(number: int) -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(10 * seed + number)

    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", kernel_initializer=start(0)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", kernel_initializer=start(1)),
            keras.layers.Dense(10, kernel_initializer=start(2)),
        ]
    )
    trainer = AdversarialTrainer(network, pgd(EPS, EPS / 3, 5) if adversarially else None)
    trainer.compile(keras.optimizers.Adam(5e-3), weight_decay=0.0)
    trainer.fit(digits.train.images(), digits.train.y, batch_size=64, epochs=epochs, shuffle=False, verbose=0)
    return network


@pytest.fixture(scope="module")
def plain(digits: Dataset) -> keras.Model:
    return trained(digits, adversarially=False, epochs=6)


@pytest.fixture(scope="module")
def other(digits: Dataset) -> keras.Model:
    """Another plain model, to craft images on."""
    return trained(digits, adversarially=False, epochs=4, seed=1)


class Masking(keras.Model):
    """A network whose images or logits pass through what hides its gradients."""

    def __init__(self, network, images=lambda x: x, logits=lambda z: z):
        super().__init__()
        self.network, self.images, self.logits = network, images, logits

    def call(self, x):
        return self.logits(self.network(self.images(x)))


def quantised(x):
    """Eight grey levels: right in value, without gradient."""
    return tf.round(8 * x) / 8


def right_on_the_grid(x):
    """The images themselves, with a gradient that points the wrong way but at images of 16 levels, as all are clean."""
    on_grid = tf.reduce_all(16 * x == tf.round(16 * x), axis=[1, 2, 3], keepdims=True)
    sign = tf.where(on_grid, 1.0, -1.0)
    return sign * x + tf.stop_gradient(x - sign * x)


def noisy():
    generator = keras.random.SeedGenerator(0)
    return lambda x: x + keras.random.normal(tf.shape(x), stddev=0.1, seed=generator)


def test_a_robust_model_passes_every_check(digits, plain) -> None:
    robust = trained(digits, adversarially=True, epochs=8)
    attacks = {"pgd": pgd(EPS, EPS / 4, 20)}
    first, second = (evaluate(model, digits.test, attacks, progress=False) for model in (robust, plain))
    assert first.accuracy("pgd") > second.accuracy("pgd") + 0.3  # it is worth checking
    report = check_for_masking(robust, digits.test, transfer_from=plain, **OPTIONS)
    assert {check.name: check.verdict for check in report} == {
        name: "pass"
        for name in (
            "one step", "black box", "transfer", "large radius", "more steps", "saturation", "zero gradients",
            "zero margin gradients", "noise", "randomness", "batch",
        )
    }  # fmt: skip


def test_a_fragile_model_passes_every_check(digits, plain, other) -> None:
    assert check_for_masking(plain, digits.test, transfer_from=other, **OPTIONS).suspicious == ()


def test_a_model_that_knows_one_class_is_not_taken_for_a_masked_one(digits) -> None:
    """Its images stand at every radius, since grey is of their class too."""
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.layers[-1].bias.assign(20.0 * np.eye(10)[6])
    check = check_for_masking(model, digits.test, **OPTIONS)["large radius"]
    assert (check.count, check.images) == (0, 0)


CASES = {
    "saturated": (
        lambda plain: Masking(plain, logits=lambda z: 1000 * z),
        {"zero gradients", "saturation"},
        {"zero margin gradients", "large radius", "randomness"},
    ),
    "quantised": (
        lambda plain: Masking(plain, images=quantised),
        {"zero gradients", "zero margin gradients", "black box", "transfer", "large radius"},
        {"saturation", "more steps", "randomness"},
    ),
    "random": (
        lambda plain: Masking(plain, images=noisy()),
        {"randomness"},
        {"zero gradients", "zero margin gradients", "batch"},
    ),
    "normalized by the batch": (
        lambda plain: Masking(plain, images=lambda x: 0.5 + (x - tf.reduce_mean(x, axis=0)) / 2),
        {"batch"},
        {"randomness", "zero margin gradients"},
    ),
    "misleading": (
        lambda plain: Masking(plain, images=right_on_the_grid),
        {"one step", "black box", "transfer", "large radius"},
        {"zero gradients", "zero margin gradients", "randomness"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_masked_gradients_are_found_by_the_checks_for_them(digits, plain, other, case) -> None:
    make, fires, silent = CASES[case]
    report = check_for_masking(make(plain), digits.test, transfer_from=other, **OPTIONS)
    assert fires <= set(report.suspicious)
    assert not silent & set(report.suspicious)


class Threshold(keras.Model):
    """Class 1 where the mean of the pixels exceeds a half: images are robust up to eps = |mean - 1/2| in L-infinity."""

    def call(self, x):
        score = 10 * (keras.ops.mean(x, axis=(1, 2, 3)) - 0.5)
        return keras.ops.stack([keras.ops.zeros_like(score), score], axis=1)


def wrong_one_time_in_fifty():
    generator = keras.random.SeedGenerator(0)
    return lambda z: tf.where(keras.random.uniform([tf.shape(z)[0], 1], seed=generator) < 0.02, -z, z)


def brightness(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of one brightness each, from 0.05 to 0.95, and their classes."""
    means = np.linspace(0.05, 0.95, count)
    return np.broadcast_to(means[:, None, None, None], (count, 4, 4, 1)).astype(np.float32), (means > 0.5).astype(int)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.2), ("l2", 0.8)])
def test_a_linear_model_hides_nothing(norm, eps) -> None:
    """L2 reaches a distance in L-infinity times the root of the number of pixels, 4."""
    report = check_for_masking(Threshold(), brightness(40), eps=eps, norm=norm, progress=False)
    assert [check.count for check in report if check.name != "noise"] == [0] * 10
    assert report["noise"].images == 18  # 9 of 20 on either side lie within eps
    assert report["noise"].verdict == "pass"
    assert report["transfer"].verdict == "not applicable"


def test_noise_is_as_strong_as_an_attack_without_gradients() -> None:
    """Draws reach means 0.05 away at most, an attack 0.2."""
    for hide, verdict in ((tf.identity, "pass"), (tf.stop_gradient, "suspicious")):
        report = check_for_masking(Masking(Threshold(), hide), brightness(200), eps=0.2, progress=False)
        assert report["noise"].verdict == verdict


def test_chance_falls_late_and_differs() -> None:
    """Wrong one time in 50 everywhere: within 20 steps, 21 looks, 35% fall; after them and by 100 steps, 52%."""
    x, y = np.zeros((120, 4, 4, 1), np.float32), np.zeros(120, int)
    report = check_for_masking(Masking(Threshold(), logits=wrong_one_time_in_fifty()), (x, y), eps=0.01, progress=False)
    late = report["more steps"]
    assert abs(late.count / late.images - 0.52) < 6 * np.sqrt(0.25 / late.images)
    assert {"more steps", "randomness"} <= set(report.suspicious)


def test_sets_arrays_and_batch_sizes_give_the_same(digits, plain) -> None:
    images = ImageSet(digits.test.x[:50], digits.test.y[:50])
    options: dict[str, Any] = {"images": 30, "eps": EPS, "progress": False}
    by_set = check_for_masking(plain, images, batch_size=7, **options)
    assert by_set == check_for_masking(plain, (images.images(), images.y), **options)
    assert by_set.images <= 30


@pytest.mark.parametrize(
    ("options", "message"),
    [({"images": 0}, "`images`.*Received: 0"), ({"norm": "l1"}, "Unknown norm 'l1'"), ({"eps": 2.0}, "eps=2.0")],
)
def test_invalid_requests(options, message) -> None:
    with pytest.raises(UsageError, match=message):
        check_for_masking(Threshold(), brightness(4), progress=False, **options)


def test_a_model_that_is_always_wrong_leaves_nothing_to_check() -> None:
    x, y = brightness(4)
    report = check_for_masking(Threshold(), (x, 1 - y), progress=False)
    assert report.images == 0
    assert {check.verdict for check in report} == {"not applicable"}


def test_inputs_that_are_no_images_are_checked_without_squares(digits) -> None:
    x, y = digits.test.images()[:60].reshape(60, -1), digits.test.y[:60]
    kernel = digits.train.images().reshape(-1, 64).T @ np.eye(10)[digits.train.y] / np.bincount(digits.train.y)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])  # nearest mean of a class
    model.layers[-1].set_weights([kernel, -(kernel**2).sum(axis=0) / 2])
    report = check_for_masking(model, (x, y), **OPTIONS)
    assert report.images > 40
    assert report["black box"].verdict == "not applicable"
    assert report.suspicious == ()
