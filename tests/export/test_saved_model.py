"""An exported classifier computes in plain TensorFlow what the model computes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.export import export_saved_model, holds_weights, verify_saved_model

SHAPE = (9, 8, 3)
PLAIN = """
import sys

sys.modules["keras"] = sys.modules["racl_tf"] = None
import numpy as np
import tensorflow as tf

path, images, outputs = sys.argv[1:]
served = tf.saved_model.load(path)
for batch in (1, 7):
    result = served.signatures["serving_default"](images=tf.constant(np.load(images)[:batch]))
    np.savez(f"{outputs}/{batch}.npz", **{name: value.numpy() for name, value in result.items()})
"""


def classifier(*last: keras.layers.Layer) -> keras.Sequential:
    """Returns a small network whose training and inference differ, with statistics that are not the initial ones."""
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(1)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Flatten(),
            keras.layers.Dense(5, kernel_initializer=keras.initializers.GlorotUniform(2)),
            *last,
        ]
    )
    model(noise(16), training=True)
    return model


def noise(batch: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(size=(batch, *SHAPE)).astype(np.float32)


class Subclassed(keras.Model):
    """A model that defines no input shape."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = classifier()

    def call(self, images, training=False):
        return self.inner(images, training=training)


def test_plain_tensorflow_gives_the_same(tmp_path) -> None:
    model = classifier()
    path = export_saved_model(model, tmp_path / "runs" / "model", class_names=["a", "b", "c", "d", "é"])
    images = noise(7)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", PLAIN, str(path), str(tmp_path / "images.npy"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    logits = np.asarray(model(images, training=False))
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    for batch in (1, 7):
        served = np.load(tmp_path / f"{batch}.npz", allow_pickle=True)
        np.testing.assert_allclose(served["logits"], logits[:batch], atol=1e-5)
        probabilities = exponents / exponents.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(served["probabilities"], probabilities[:batch], atol=1e-5)
        assert served["class"].tolist() == logits[:batch].argmax(axis=1).tolist()
        names = [["a", "b", "c", "d", "é"][index] for index in served["class"]]
        assert [name.decode() for name in served["class_name"]] == names


def test_each_output_has_its_own_signature(tmp_path) -> None:
    served = tf.saved_model.load(export_saved_model(classifier(), tmp_path / "model"))
    images = tf.constant(noise(2))
    everything = served.signatures["serving_default"](images=images)
    assert everything.keys() == {"logits", "probabilities", "class"}
    assert served.signatures.keys() == {"serving_default", *everything}
    for name, value in everything.items():
        alone = served.signatures[name](images=images)
        assert alone.keys() == {name}
        np.testing.assert_array_equal(alone[name], value)


def test_a_subclassed_model_needs_the_input_shape(tmp_path) -> None:
    model = Subclassed()
    model(noise(1))
    with pytest.raises(UsageError, match=r"defines no input shape. Pass `input_shape=\(height, width, channels\)`"):
        export_saved_model(model, tmp_path / "model")
    path = export_saved_model(model, tmp_path / "model", input_shape=SHAPE)
    assert verify_saved_model(model, path, noise(4)) < 1e-5


def test_verification_notices_other_weights(tmp_path) -> None:
    model = classifier()
    path = export_saved_model(model, tmp_path / "model")
    assert verify_saved_model(model, path, noise(4)) < 1e-5
    model.layers[-1].bias.assign_add([0.0, 0.0, 0.25, 0.0, 0.0])
    assert verify_saved_model(model, path, noise(4)) == pytest.approx(0.25, abs=1e-5)


def test_an_export_holds_the_weights_of_its_model_alone(tmp_path) -> None:
    model = classifier()
    path = export_saved_model(model, tmp_path / "model")
    assert holds_weights(path, model)
    for variable in (model.layers[1].moving_variance, model.layers[-1].bias):
        value = variable.numpy()
        variable.assign(value + np.eye(len(value), dtype=np.float32)[0] * 1e-6)
        assert not holds_weights(path, model)
        variable.assign(value)
    assert holds_weights(path, model)
    assert not holds_weights(tmp_path, model)


def test_what_exists_is_left_alone(tmp_path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match=r"it exists\. Remove it or choose another path"):
        export_saved_model(classifier(), tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch) -> None:
    def interrupted(_, path, **kwargs):
        tf.io.gfile.makedirs(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_saved_model(classifier(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_classifier_with_logits_is_refused(tmp_path) -> None:
    path = tmp_path / "model"
    with pytest.raises(UsageError, match="expects logits, but the model gives probabilities"):
        export_saved_model(classifier(keras.layers.Softmax()), path)
    with pytest.raises(UsageError, match=r"2 classes at least\. It gives \(8, 1\)"):
        export_saved_model(classifier(keras.layers.Dense(1)), path)
    pixels = keras.Input(SHAPE, dtype="uint8")
    with pytest.raises(UsageError, match="The model takes uint8, to which images in"):
        export_saved_model(keras.Model(pixels, classifier()(pixels)), path)
    for activation in ("softmax", "sigmoid"):
        for dtype in ("mixed_bfloat16", "mixed_float16"):
            half = keras.layers.Dense(3, activation=activation, dtype=dtype)
            with pytest.raises(UsageError, match=f"probabilities. Remove its last {activation}"):
                export_saved_model(classifier(half), path)
    with pytest.raises(UsageError, match=r"It gives \(8, 5, 1\)"):
        export_saved_model(classifier(keras.layers.Reshape((5, 1))), path)
    images = keras.Input((None, None, 3))
    any_size = keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))
    with pytest.raises(UsageError, match=r"fixed `input_shape` .* Received: \(None, None, 3\)"):
        export_saved_model(any_size, path)
    with pytest.raises(UsageError, match=r"each of the 5 classes\. Received 2 names"):
        export_saved_model(classifier(), path, class_names=["a", "b"])
    with pytest.raises(UsageError, match="Cannot load a SavedModel"):
        verify_saved_model(classifier(), path, noise(1))
    assert not path.exists()
