"""Classifiers from files are those that were saved, and are attacked alike."""

import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import APGD, fgsm, pgd
from racl_tf.errors import UsageError
from racl_tf.evaluation import evaluate, load_classifier
from racl_tf.export import export_saved_model
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.loading import load_network
from racl_tf.networks.pretrained import save_pretrained

LAYERS = keras.layers


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.random((12, 8, 8, 3), np.float32), rng.integers(0, 4, 12).astype(np.int32)


def functional():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, LAYERS.Dense(4)(LAYERS.Flatten()(LAYERS.Conv2D(4, 3, activation="relu")(inputs))))


def sequential():
    layers = [LAYERS.Rescaling(2.0, -1.0), LAYERS.Conv2D(4, 3), LAYERS.BatchNormalization(), LAYERS.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, LAYERS.Dropout(0.5), LAYERS.Dense(4)])


def ours():
    return GenotypeNetwork("darts", num_classes=4, channels=4, cells=3, input_shape=(8, 8, 3))


def outcome(model, data, eps):
    """Labels are the model's own predictions, so that there is something to attack."""
    x, _ = data
    attacks = {"pgd": pgd(eps, eps / 4, 5), "apgd": APGD(eps, 5)}
    y = model(x).numpy().argmax(axis=1) if isinstance(model, keras.Model) else model.logits(x).argmax(axis=1)
    return evaluate(model, (x, y), attacks, progress=False)


@pytest.mark.parametrize(("make", "eps"), [(functional, 0.05), (sequential, 0.05), (ours, 1.0)])
def test_a_file_and_a_saved_model_are_attacked_like_the_model(make, eps, data, tmp_path) -> None:
    keras.utils.set_random_seed(0)
    model = make()
    model.save(tmp_path / "model.keras")
    export_saved_model(model, tmp_path / "ours", class_names=list("abcd"))
    names = ["model.keras", "ours"]
    if make is not ours:  # which Keras itself does not export
        model.export(tmp_path / "keras", format="tf_saved_model", verbose=False)
        names.append("keras")
    expected = outcome(model, data, eps)
    assert any(found.is_adversarial.any() for found in expected.outcomes.values())
    for name in names:
        loaded = load_classifier(tmp_path / name)
        np.testing.assert_allclose(loaded.logits(data[0]), model(data[0]), rtol=1e-4, atol=1e-5)
        found = outcome(loaded, data, eps)
        with pytest.raises(UsageError, match=r"does not take images of shape \(8, 8, 1\)\. "):
            evaluate(loaded, (np.zeros([1, 8, 8, 1], np.float32), np.zeros(1, int)), {}, progress=False)
        for attack, outcomes in expected.outcomes.items():
            np.testing.assert_array_equal(found.outcomes[attack].steps, outcomes.steps, err_msg=f"{name} {attack}")


def test_a_pretrained_folder_is_loaded(data, tmp_path) -> None:
    model = functional()
    loaded = load_classifier(save_pretrained(model, tmp_path / "folder"))
    np.testing.assert_allclose(loaded.logits(data[0]), model(data[0]), rtol=1e-4, atol=1e-5)


def test_bounds_are_passed_on(data, tmp_path) -> None:
    model = functional()
    model.save(tmp_path / "model.keras")
    loaded = load_classifier(tmp_path / "model.keras", bounds=(-1, 3))
    np.testing.assert_allclose(loaded.logits(data[0]), model(4 * data[0] - 1), rtol=1e-4, atol=1e-4)


def test_what_is_no_model_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"no model '.*missing.keras'"):
        load_classifier(tmp_path / "missing.keras")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="not the folder of a SavedModel"):
        load_classifier(tmp_path / "empty")
    (tmp_path / "text.keras").write_text("no")
    with pytest.raises(UsageError, match=r"is damaged or no \.keras file"):
        load_classifier(tmp_path / "text.keras")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_lambda_layer_is_not_executed(suffix, tmp_path) -> None:
    model = keras.Sequential([keras.Input((4,)), LAYERS.Lambda(lambda x: x * 2)])
    model.save(tmp_path / f"lambda.{suffix}")
    with pytest.raises(UsageError, match=r"cannot be loaded.*[Ll]ambda"):
        load_classifier(tmp_path / f"lambda.{suffix}")


@pytest.mark.parametrize(
    ("part", "size"), [("config.json", 2**26), ("metadata.json", 2**26), ("model.weights.h5", 2**30)]
)
def test_an_archive_that_unpacks_to_fill_the_memory_is_not_unpacked(part, size, tmp_path, monkeypatch) -> None:
    ours().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            with archive.open(name, "w") as file:
                file.write(content)
                for _ in range(size // 2**24 if name == part else 0):
                    file.write(b" " * 2**24)
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("it is unpacked"))
    with pytest.raises(UsageError, match=r"bomb\.keras' unpacks to \d+ bytes"):
        load_classifier(tmp_path / "bomb.keras")


def test_an_archive_may_be_packed(tmp_path) -> None:
    model = ours()
    model.save(tmp_path / "model.keras")
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as archive,
        zipfile.ZipFile(tmp_path / "packed.keras", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert len(load_network(tmp_path / "packed.keras").weights) == len(model.weights)


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ({}, "no signature 'logits' or 'serving_default'"),
        ({"serving_default": ("x", "z")}, "must take one input"),
        ({"other": ("x",)}, "It has: other"),
    ],
    ids=str,
)
def test_signatures_that_do_not_fit(signatures, message, tmp_path) -> None:
    module = tf.Module()
    spec = tf.TensorSpec([None, 4], tf.float32)

    def serve(names):
        def one(x):
            return {"y": x}

        def two(x, z):
            return {"y": x + z}

        return tf.function(two if len(names) == 2 else one).get_concrete_function(*[spec] * len(names))

    module.functions = {name: serve(arguments) for name, arguments in signatures.items()}
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.functions)
    with pytest.raises(UsageError, match=message):
        load_classifier(tmp_path / "saved")


def test_a_damaged_file_and_wrong_bounds_are_told_apart(tmp_path) -> None:
    ours().save(path := tmp_path / "model.keras")
    with pytest.raises(UsageError, match=r"^`bounds` must be two rising numbers"):
        load_classifier(path, bounds=(1, 0))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UsageError, match=r"is damaged or no \.keras file"):
        load_classifier(path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is no model\. Give a \.keras file"):
        load_classifier(tmp_path / "model.json")


def test_images_of_another_size_are_refused() -> None:
    """Which a network that pools over all pixels would take in silence."""
    with pytest.raises(UsageError, match=r"for images of shape \(8, 8, 3\)\. Received: \(32, 32, 3\)"):
        evaluate(ours(), (np.zeros([1, 32, 32, 3], np.float32), np.zeros(1, np.int32)), {"pgd": pgd(0.1, 0.1, 1)})


def test_networks_are_known_to_keras_once_the_package_is_imported(tmp_path) -> None:
    ours().save(tmp_path / "model.keras")
    code = f"import racl_tf.networks, keras; keras.saving.load_model({str(tmp_path / 'model.keras')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def saved(folder: pathlib.Path, shape: tuple[int | None, ...] | None, dtype: tf.DType = tf.float32) -> pathlib.Path:
    """A SavedModel of a linear classifier of 8x8 images that takes inputs of one kind."""
    module = tf.Module()
    module.kernel = tf.Variable(tf.random.stateless_normal((64, 4), (0, 0)))

    def serve(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.cast(x, tf.float32), [tf.shape(x)[0], 64]) @ module.kernel

    module.serve = tf.function(serve, input_signature=[tf.TensorSpec(shape, dtype)])
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    return folder


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((None, 8, 8, 1), tf.float64),
        ((None, 8, 8, 1), tf.float16),
        ((None, 8, 8), tf.float32),
        ((1, 8, 8, 1), tf.float32),
        ((3, 8, 8, 1), tf.float64),
        (None, tf.float32),
    ],
    ids=str,
)
def test_saved_models_are_shown_images_as_they_take_them(shape, dtype, data, tmp_path) -> None:
    """Gradients flow through all of them as through the plain one."""
    x, y = data
    plain = load_classifier(saved(tmp_path / "plain", (None, 8, 8, 1)))
    other = load_classifier(saved(tmp_path / "other", shape, dtype))
    x = x[:, :8, :8, :1]
    tolerance = 1e-2 if dtype == tf.float16 else 1e-5
    np.testing.assert_allclose(other.logits(x), plain.logits(x), rtol=tolerance, atol=tolerance)
    attack = {"fgsm": fgsm(0.1)}
    found, expected = (evaluate(model, (x, y), attack, progress=False) for model in (other, plain))
    assert abs(found.count("fgsm") - expected.count("fgsm")) <= (1 if dtype == tf.float16 else 0)


def test_a_saved_model_without_gradients_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="takes uint8, through which no gradient flows"):
        load_classifier(saved(tmp_path / "saved", (None, 8, 8, 1), tf.uint8))


def test_a_layer_that_is_not_registered_is_named(tmp_path) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    layers = [LAYERS.Dense(8, name="9" * 5000), Twice(), LAYERS.Dense(2)]
    keras.Sequential([keras.Input((4,)), *layers]).save(tmp_path / "model.keras")
    del keras.saving.get_custom_objects()["mine>Twice"]
    with pytest.raises(UsageError, match=r"Twice.*Import the code of its own layers first") as caught:
        load_classifier(tmp_path / "model.keras")
    assert len(str(caught.value)) <= 1000
