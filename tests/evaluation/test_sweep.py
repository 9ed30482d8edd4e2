"""Sweeps of models for which it is known which image is robust to what, and against evaluations one by one."""

import csv
import json
from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest

from racl_tf.attacks import fgsm, mim, pgd
from racl_tf.attacks.apgd import APGD
from racl_tf.data import ImageSet
from racl_tf.errors import UsageError
from racl_tf.evaluation import Sweep, evaluate, sweep_eps, sweep_steps, wilson_interval


class Threshold(keras.Model):
    """Class 1 where the mean of the pixels exceeds a half; an image is robust up to eps = |mean - 1/2|."""

    def __init__(self):
        super().__init__()
        self.traces = 0

    def call(self, x):
        self.traces += 1
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


@pytest.fixture
def network():
    """Three classes of 12 pixels, without any symmetry."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, "tanh"), keras.layers.Dense(3)]
    network = keras.Sequential([keras.Input((2, 2, 3)), *layers])
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.normal(size=weight.shape))
    return network


@pytest.fixture
def data(network):
    x = np.random.default_rng(1).random((60, 2, 2, 3), np.float32)
    y = network(x).numpy().argmax(axis=1)
    y[:5] = (y[:5] + 1) % 3
    return x, y


ENSEMBLE = (fgsm(0.3), pgd(0.3, 0.1, 7, restarts=3))


@pytest.mark.parametrize("attack", [fgsm(0.3), pgd(0.3, 0.1, 10), pgd(0.3, 0.1, 7, restarts=3), ENSEMBLE])
@pytest.mark.parametrize("batch_size", [2, 100])
def test_each_image_falls_at_its_distance(attack, batch_size) -> None:
    sweep = sweep_eps(
        Threshold(), (IMAGES, LABELS), attack, (0.04, 0.06, 0.1, 0.16, 0.31), batch_size=batch_size, progress=False
    )
    assert sweep.num_robust == (6, 4, 4, 2, 0)
    assert (sweep.clean, sweep.images) == (6, 7)


def test_in_l2_distances_are_longer_by_the_root_of_the_pixels() -> None:
    sweep = sweep_eps(
        Threshold(), (IMAGES, LABELS), pgd(1.0, 0.3, 10, norm="l2"), (0.19, 0.21, 0.59, 0.61), progress=False
    )
    assert sweep.num_robust == (6, 4, 4, 2)


def test_what_a_short_step_broke_stays_broken() -> None:
    """0.45 is misclassified after a step of 0.1; one of 0.25 goes too far, but its ball holds the adversarial image."""
    x, y = np.array([[0.45], [0.3], [0.1]], np.float32), np.zeros(3, int)
    alone = evaluate(Band(), (x, y), {"long": fgsm(0.25)}, progress=False)
    assert alone.count("long") == 2
    assert sweep_eps(Band(), (x, y), fgsm(0.1), (0.1, 0.25), progress=False).num_robust == (2, 1)


@pytest.mark.parametrize(
    "plan_at",
    [
        lambda eps: (pgd(eps, eps / 4, 5),),
        lambda eps: (fgsm(eps), pgd(eps, eps / 3, 4, restarts=3)),
        lambda eps: (APGD(eps, steps=5, loss="margin", targets=9), fgsm(eps)),
    ],
)
def test_a_sweep_is_evaluations_at_each_radius_and_what_fell_before(network, data, plan_at) -> None:
    """Steps keep their ratio to eps; noise is that of the same image and seed."""
    epsilons = (0.02, 0.05, 0.1, 0.2)
    sweep = sweep_eps(network, data, plan_at(0.5), epsilons, seed=3, batch_size=16, progress=False)
    robust = np.ones(len(data[1]), bool)
    for eps, count in zip(epsilons, sweep.num_robust, strict=True):
        robust &= evaluate(network, data, {"at": plan_at(eps)}, seed=3, batch_size=60, progress=False).correct["at"]
        assert count == robust.sum()
    assert sweep.num_robust[0] > sweep.num_robust[-1]
    assert [member.eps for member in sweep.attacks] == [0.2] * len(sweep.attacks)


def test_all_radii_share_a_trace() -> None:
    few, many = Threshold(), Threshold()
    sweep_eps(few, (IMAGES, LABELS), pgd(0.3, 0.1, 3), (0.1,), progress=False)
    sweep_eps(many, (IMAGES, LABELS), pgd(0.3, 0.1, 3), np.linspace(0.01, 0.2, 9).tolist(), progress=False)
    assert few.traces == many.traces > 0


@pytest.mark.parametrize(
    "attack", [pgd(0.15, 0.03, 1), mim(0.15, 0.01, 1), pgd(0.4, 0.05, 1, norm="l2", loss="margin")]
)
def test_one_long_run_tells_what_short_ones_would(network, data, attack) -> None:
    counts = (1, 2, 3, 5, 8)
    sweep = sweep_steps(network, data, attack, counts, seed=3, batch_size=16, progress=False)
    for steps, num_robust in zip(counts, sweep.num_robust, strict=True):
        single = {"single": replace(attack, steps=steps)}
        assert num_robust == evaluate(network, data, single, seed=3, progress=False).count("single")
    assert sweep.num_robust[0] > sweep.num_robust[-1]


def test_each_image_falls_after_as_many_steps_as_it_is_away() -> None:
    attack = mim(0.5, 0.04, 3)  # steps are all of one sign here: 0.05, 0.15 and 0.3 take 2, 4 and 8 steps
    sweep = sweep_steps(Threshold(), (IMAGES, LABELS), attack, (1, 2, 3, 4, 7, 8), progress=False)
    assert sweep.num_robust == (6, 4, 4, 2, 2, 0)
    assert sweep.attacks[0].steps == 8


def test_a_finished_sweep_is_not_repeated(tmp_path) -> None:
    first = sweep_eps(Threshold(), (IMAGES, LABELS), fgsm(0.1), (0.1, 0.2), progress=False, folder=tmp_path)
    model = Threshold()
    again = sweep_eps(model, (IMAGES, LABELS), fgsm(0.1), (0.1, 0.2), progress=False, folder=tmp_path)
    assert again == first
    assert model.traces == 1  # for the clean images
    with pytest.raises(UsageError, match="other attacks"):
        sweep_eps(model, (IMAGES, LABELS), fgsm(0.1), (0.1, 0.3), progress=False, folder=tmp_path)


def test_an_image_set_will_do() -> None:
    pixels = np.round(255 * IMAGES).astype(np.uint8)
    sweep = sweep_eps(Threshold(), ImageSet(pixels, LABELS.astype(np.int32)), fgsm(0.1), (0.1, 0.2), progress=False)
    assert sweep.num_robust == (4, 2)


def test_progress_shows_one_bar(capsys) -> None:
    sweep_eps(Threshold(), (IMAGES, LABELS), fgsm(0.1), (0.1, 0.2))
    assert "eps 0.1 to 0.2: 100%" in capsys.readouterr().err


SWEEP = Sweep("eps", (0.01, 0.02), (81, 15), clean=100, images=148, attacks=(fgsm(0.02),), seed=5)


def test_figures_and_files(tmp_path) -> None:
    assert SWEEP.accuracies == (81 / 148, 15 / 148)
    assert SWEEP.intervals == (wilson_interval(81, 148), wilson_interval(15, 148))
    SWEEP.save(tmp_path / "sweep.csv")
    with open(tmp_path / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["eps"]) for row in rows] == [0.01, 0.02]
    assert [int(row["standing"]) for row in rows] == [81, 15]
    assert [(float(row["low"]), float(row["high"])) for row in rows] == list(SWEEP.intervals)
    record = json.loads(json.dumps(SWEEP.to_dict()))
    assert record["rows"][1]["accuracy"] == 15 / 148
    assert (record["seed"], record["clean"], record["attacks"][0]["eps"]) == (5, 100, 0.02)
    shown = str(SWEEP)
    assert "6.24 to 16.05" in shown  # 15 of 148: Table I of Newcombe (1998)
    assert shown.isascii()


@pytest.mark.parametrize("values", [(), (0.2, 0.1), (0.1, 0.1)])
def test_values_must_rise(values) -> None:
    with pytest.raises(UsageError, match="`epsilons` must be one number or several rising ones"):
        sweep_eps(Threshold(), (IMAGES, LABELS), fgsm(0.1), values)
    with pytest.raises(UsageError, match="`steps` must be one number or several rising ones"):
        sweep_steps(Threshold(), (IMAGES, LABELS), fgsm(0.1), values)


@pytest.mark.parametrize("attack", [pgd(0.1, 0.1, 2, restarts=2), APGD(0.1, targets=9)])
def test_steps_are_swept_in_one_run(attack) -> None:
    with pytest.raises(UsageError, match="needs an attack of one run"):
        sweep_steps(Threshold(), (IMAGES, LABELS), attack)


def test_a_radius_outside_the_norm_is_refused() -> None:
    with pytest.raises(UsageError, match=r"eps=1\.5"):
        sweep_eps(Threshold(), (IMAGES, LABELS), fgsm(0.1), (0.5, 1.5))


def test_the_paper_s_curves_never_rise(network, data) -> None:
    for sweep in (
        sweep_eps(network, data, fgsm(0.03), progress=False),
        sweep_steps(network, data, pgd(0.03, 0.01, 1), progress=False),
    ):
        assert len(sweep.values) == 7
        assert all(before >= after for before, after in pairwise((sweep.clean, *sweep.num_robust)))
