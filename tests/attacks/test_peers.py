"""FGSM, PGD-20 and MIM reach at least the loss that other libraries' reach at equal settings."""

from functools import partial

import keras
import numpy as np
import pytest

from benchmarks.attack_peers import EPS, PEERS, STEP_SIZE
from racl_tf.attacks import fgsm, mim, pgd
from racl_tf.attacks.losses import cross_entropy

STEPS = 20
OURS = {"FGSM": fgsm(EPS), "PGD": pgd(EPS, STEP_SIZE, STEPS), "MIM": mim(EPS, STEP_SIZE, STEPS)}


@pytest.fixture(scope="module")
def network():
    """Convolutions with random weights that are large enough for attacks to tell apart."""
    keras.utils.set_random_seed(0)
    convolutions = [
        keras.layers.Conv2D(channels, 3, 2, activation="relu", kernel_initializer="he_normal") for channels in (16, 32)
    ]
    head = keras.layers.Dense(10, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0))
    return keras.Sequential([keras.Input([32, 32, 3]), *convolutions, keras.layers.GlobalAveragePooling2D(), head])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=[32, 32, 32, 3]).astype(np.float32)


@pytest.fixture(scope="module")
def labels(network, images):
    return network(images).numpy().argmax(axis=1).astype(np.int32)


@pytest.mark.parametrize("name", PEERS)
def test_loss_is_at_least_theirs(network, images, labels, name) -> None:
    make, module, _ = PEERS[name]
    pytest.importorskip(module)

    def loss(attack):
        return float(np.mean(cross_entropy(network(attack(images, labels)), labels)))

    theirs = {kind: loss(attack) for kind, attack in make(network, STEPS).items()}
    ours = {kind: loss(partial(attack, network)) for kind, attack in OURS.items()}
    clean = loss(lambda x, _: x)
    print(name, clean, ours, theirs)
    assert min(ours.values()) > 1.5 * clean
    for kind in theirs:
        assert ours[kind] >= 0.999 * theirs[kind], kind
