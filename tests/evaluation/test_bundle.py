"""The bundle of an evaluation: what it holds, that it is recounted, and each thing that may be wrong with it."""

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from racl_tf.attacks import APGD, Attack, Classifier, fgsm, pgd
from racl_tf.errors import UsageError
from racl_tf.evaluation import Evaluation, EvaluationBundle, evaluate, make_bundle, verify_bundle, wilson_interval
from racl_tf.evaluation.bundle import _checksums
from racl_tf.files import read_arrays, write_arrays, write_json

EPS = {"linf": 0.05, "l2": 0.2}


def linear(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])
    model.layers[-1].bias.assign([0.0, 0.1, -0.1, 0.1, 0.0])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return linear()


@pytest.fixture(scope="module")
def data(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).random((150, 4, 4, 1), np.float32)
    labels = model(images).numpy().argmax(-1).astype(np.int32)
    labels[::7] = (labels[::7] + 1) % 5  # misclassified clean
    return images, labels


def evaluated(model: keras.Model, data: tuple[np.ndarray, np.ndarray], norm: str, folder: pathlib.Path) -> Evaluation:
    eps = EPS[norm]
    attacks: dict[str, Attack | tuple[Attack, ...]] = {
        "fgsm": fgsm(eps, norm=norm),
        "pgd": pgd(eps, eps / 4, 8, norm=norm, restarts=2),
        "both": (fgsm(eps, norm=norm), APGD(eps, 10, norm=norm, loss="dlr", targets=2)),
    }
    evaluation = evaluate(model, data, attacks, batch_size=16, progress=False)
    digest = Classifier(model).digest(data[0][:1])
    results = {"norm": norm, "eps": eps, "digest": digest} | evaluation.to_dict()
    make_bundle(model, data, evaluation, batch_size=16).save(folder, results)
    return evaluation


@pytest.fixture(scope="module")
def written(
    model: keras.Model, data: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    evaluated(model, data, "linf", folder)
    return folder


@pytest.mark.parametrize("norm", EPS)
def test_it_holds_an_image_of_all_that_fell_and_is_recounted(
    norm: str, model: keras.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: pathlib.Path
) -> None:
    evaluation = evaluated(model, data, norm, tmp_path)
    bundle, _ = EvaluationBundle.load(tmp_path)
    images, labels = data
    fallen = np.flatnonzero(evaluation.clean & ~evaluation.worst_case)
    assert 10 < len(fallen) < evaluation.count("clean")
    np.testing.assert_array_equal(bundle.index, fallen)
    np.testing.assert_array_equal(bundle.clean, images)
    difference = (bundle.adversarial - images[fallen]).reshape(len(fallen), -1)
    assert np.linalg.norm(difference, np.inf if norm == "linf" else 2, axis=1).max() <= EPS[norm] + 1e-5
    assert (model(bundle.adversarial).numpy().argmax(-1) != labels[fallen]).all()
    by_first = np.where(evaluation.outcomes["fgsm"].is_adversarial, "fgsm", "other")[fallen]
    np.testing.assert_array_equal(bundle.attack == "fgsm", by_first == "fgsm")
    again = verify_bundle(tmp_path, model)
    assert {name: again.count(name) for name in again.names} == {name: evaluation.count(name) for name in again.names}
    assert again.interval("worst_case") == wilson_interval(int(evaluation.worst_case.sum()), len(labels))


def test_where_nothing_fell_it_is_empty(
    model: keras.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: pathlib.Path
) -> None:
    evaluation = evaluate(model, data, {"weak": fgsm(1e-7)}, progress=False)
    results = {"norm": "linf", "eps": 1e-7, "digest": Classifier(model).digest(data[0][:1])} | evaluation.to_dict()
    make_bundle(model, data, evaluation).save(tmp_path, results)
    assert verify_bundle(tmp_path, model).count("worst_case") == evaluation.count("clean")


def forged(folder: pathlib.Path, change: Callable[[dict[str, np.ndarray], dict[str, Any]], None]) -> None:
    """Changes a bundle and sums its files anew, as who forges one would."""
    arrays, results = read_arrays(folder / "images.npz"), json.loads((folder / "results.json").read_text())
    change(arrays, results)
    write_arrays(folder / "images.npz", arrays)
    write_json(folder / "results.json", results)
    (folder / "SHA256SUMS").write_text(_checksums(folder))


def outside_the_ball(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    clean = arrays["clean"][arrays["index"][2]]
    arrays["adversarial"][2] = clean + np.where(clean < 0.5, 1, -1) * np.float32(0.05 + 3e-6)


def beyond_white(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    clean = arrays["clean"]
    image, *_ = np.unravel_index(clean[arrays["index"]].argmax(), arrays["adversarial"].shape)
    arrays["adversarial"][image] = np.where(clean[arrays["index"][image]] > 0.97, 1.0001, arrays["adversarial"][image])


def one_left_out(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    for name in ("index", "attack", "adversarial", "predicted"):
        arrays[name] = np.delete(arrays[name], 3, axis=0)


def a_clean_one_for_an_adversarial_one(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    arrays["adversarial"][1] = arrays["clean"][arrays["index"][1]]


def not_a_number(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    arrays["adversarial"][4] = np.nan


def another_class(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    wrong = next(
        label for label in range(5) if label not in (arrays["predicted"][0], arrays["labels"][arrays["index"][0]])
    )
    arrays["predicted"][0] = wrong


def another_clean_class(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    arrays["predictions"][9] = (arrays["predictions"][9] + 1) % 5


def another_attack(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    arrays["attack"][0] = "none"


def one_fewer_fell(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    for name in ("fgsm", "pgd", "both"):
        arrays[f"{name}/steps"][arrays["index"][5]] = -1


def a_count(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    results["results"]["pgd"]["correct"] += 1


def an_interval(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    results["results"]["worst_case"]["interval"][0] += 0.001


def an_accuracy(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    results["results"]["clean"]["accuracy"] = 0.99


def a_row_more(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    results["results"]["autoattack"] = {"correct": 150, "accuracy": 1.0}


def a_smaller_radius(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    results["eps"] = 0.04


def no_images(arrays: dict[str, np.ndarray], results: dict[str, Any]) -> None:
    arrays["adversarial"] = arrays["adversarial"].astype(np.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (outside_the_ball, r"images.npz'.* image {2}: .*outside of the ball, linf eps 0.05"),
        (beyond_white, r"images.npz'.* image \d+: .*outside of the ball.* or of \[0, 1\]"),
        (one_left_out, "images.npz'.* image {3}: it fell, and no adversarial image"),
        (a_clean_one_for_an_adversarial_one, "images.npz'.* image {1}: the model classifies .* correctly"),
        (not_a_number, "images.npz'.* image {4}: .*outside"),
        (another_class, "images.npz'.* image {0}: .*another class"),
        (another_clean_class, "images.npz'.* image 9: .*another class for the clean image"),
        (another_attack, "images.npz'.* image {0}: it did not fall to the attack"),
        (one_fewer_fell, "images.npz'.* image {5}: an adversarial image is kept, and it did not fall"),
        (a_count, r"results.json'.* pgd: correct is (\d+), and recounted"),
        (an_interval, r"results.json'.* worst_case: interval is \[0\."),
        (an_accuracy, r"results.json'.* clean: accuracy is 0.99, and recounted"),
        (a_row_more, "results.json'.* the rows of results"),
        (a_smaller_radius, "images.npz'.* image .*outside of the ball, linf eps 0.04"),
        (no_images, "is no bundle.*adversarial is float64"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_named(
    change: Callable[[dict[str, np.ndarray], dict[str, Any]], None],
    message: str,
    model: keras.Model,
    written: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    folder = shutil.copytree(written, tmp_path / "bundle")
    index = read_arrays(folder / "images.npz")["index"]
    forged(folder, change)
    for place in range(6):
        message = message.replace(f"{{{place}}}", str(index[place]))
    with pytest.raises(UsageError, match=message):
        verify_bundle(folder, model)


@pytest.mark.parametrize("name", ["images.npz", "results.json", "SHA256SUMS"])
def test_every_byte_counts(name: str, model: keras.Model, written: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = shutil.copytree(written, tmp_path / "bundle")
    content = bytearray((folder / name).read_bytes())
    for place in np.linspace(0, len(content) - 1, 20).astype(int):
        changed = content.copy()
        changed[place] ^= 1
        (folder / name).write_bytes(changed)
        with pytest.raises(UsageError, match=r"is not as it was written|is damaged"):
            verify_bundle(folder, model)
    (folder / name).unlink()
    with pytest.raises(UsageError, match=f"is no bundle: {name} is missing"):
        verify_bundle(folder, model)


def test_another_model_is_told_by_its_digest(written: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"results.json' is of another model: its digest is '\w+'"):
        verify_bundle(written, linear(seed=1))
