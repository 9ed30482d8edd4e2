"""A model has the digest of its graph and weights, whatever it is called and wherever it is read."""

import pathlib
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import Classifier
from racl_tf.evaluation import load_classifier
from racl_tf.export import export_saved_model
from racl_tf.networks.genotype_network import GenotypeNetwork

IMAGE = np.full((1, 8, 8, 1), 0.5, np.float32)
PRINT = """
import sys
import numpy as np
from racl_tf.evaluation import load_classifier

print(load_classifier(sys.argv[1]).digest(np.full((1, 8, 8, 1), 0.5, np.float32)))
"""


def made(activation: str = "relu", strides: int = 1) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(2, 3, strides=strides, padding="same", kernel_initializer=start(1)),
            keras.layers.BatchNormalization(),
            keras.layers.Activation(activation),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, kernel_initializer=start(2)),
        ]
    )


def start(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed)


def digest(model: keras.Model | Callable, **options) -> str:
    return Classifier(model, **options).digest(IMAGE)


def test_the_same_model_has_the_same_digest(tmp_path: pathlib.Path) -> None:
    """Made twice under other names, compiled, called, and read from its file, here and in another process."""
    model = made()
    first = digest(model)
    model.compile("sgd", "mse")
    assert len({first, digest(made()), digest(model), digest(keras.models.clone_model(made()))} - {first}) <= 1
    path = tmp_path / "model.keras"
    model.save(path)
    assert load_classifier(path).digest(IMAGE) == first
    done = subprocess.run([sys.executable, "-c", PRINT, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == first


@pytest.mark.parametrize("number", range(8))
def test_every_weight_counts(number: int) -> None:
    model = made()
    before = digest(model)
    variable = model.variables[number]
    value = variable.numpy()
    variable.assign(value + np.eye(value.size)[0].reshape(value.shape) * 1e-3)
    assert digest(model) != before
    variable.assign(value)
    assert digest(model) == before


def test_what_is_computed_counts() -> None:
    """Of the same weights."""
    digests = [digest(made()), digest(made("softplus")), digest(made(strides=2)), digest(made(), bounds=(0, 255))]
    kernel = tf.constant(np.eye(64, 3, dtype=np.float32))
    for weights in (kernel, 2 * kernel):
        digests.append(digest(lambda x, weights=weights: tf.reshape(x, [-1, 64]) @ weights))
    digests.append(digest(lambda x: tf.reshape(tf.stop_gradient(x), [-1, 64]) @ kernel))
    assert len(set(digests)) == len(digests)


def test_a_saved_model_has_one_as_well(tmp_path: pathlib.Path) -> None:
    digests = []
    for name, shift in (("one", 0.0), ("same", 0.0), ("other", 1e-3)):
        model = made()
        model.layers[-1].bias.assign_add([shift, 0.0, 0.0])
        digests.append(load_classifier(export_saved_model(model, tmp_path / name)).digest(IMAGE))
    assert digests[0] == digests[1] != digests[2]


def test_what_a_model_counts_is_no_weight() -> None:
    model, shown = made(), tf.Variable(0.0)
    before = digest(model)

    def counting(x: tf.Tensor) -> tf.Tensor:
        shown.assign_add(1.0)
        return model(x)

    classifier = Classifier(counting)
    first = classifier.digest(IMAGE)
    classifier.logits(IMAGE)
    assert shown.numpy() == 1
    assert classifier.digest(IMAGE) == first != before


def test_random_states_are_no_weights() -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    noisy = keras.layers.Dropout(0.5, seed=1)
    classifier = Classifier(lambda x: model(noisy(x, training=True)))
    before = classifier.digest(IMAGE)
    assert (classifier.logits(IMAGE) != classifier.logits(IMAGE)).any()
    assert classifier.digest(IMAGE) == before


def test_a_network_of_cells_read_again(tmp_path: pathlib.Path) -> None:
    network = GenotypeNetwork("racl", 3, channels=2, cells=3, input_shape=(8, 8, 1), seed=1)
    network.save(tmp_path / "network.keras")
    assert load_classifier(tmp_path / "network.keras").digest(IMAGE) == digest(network)
