"""Networks by name, and what the baselines owe: images of any size, a sane start, learning."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.networks.densenet import DenseNet121
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.registry import NETWORKS, make_network
from racl_tf.networks.resnet import ResNet18
from racl_tf.networks.robnet import RobNet
from racl_tf.networks.vgg import VGG19
from racl_tf.space import GENOTYPES

CELLS: dict[str, Any] = {"channels": 4, "cells": 3}
SMALL = {
    "resnet18": {"channels": 4},
    "densenet121": {"growth": 2},
    "robnet_large_v1": CELLS,
}
each_baseline = pytest.mark.parametrize("name", SMALL)


def small(name: str, **arguments: Any) -> keras.Model:
    return make_network(name, **{"num_classes": 5, "input_shape": (8, 8, 1), **SMALL[name], **arguments})


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_names_stand_for_their_networks() -> None:
    classes = {"resnet18": ResNet18, "densenet121": DenseNet121, "vgg19": VGG19, "robnet_large_v1": RobNet}
    for name, kind in classes.items():
        options = {} if name == "vgg19" else SMALL[name]
        assert type(make_network(name.upper(), input_shape=(8, 8, 1), **options)) is kind
    assert NETWORKS.keys() == {*classes, "robnet_small", "robnet_free", "l2nnn", *GENOTYPES}


@pytest.mark.parametrize("name", GENOTYPES)
def test_every_published_genotype_is_a_network(name: str) -> None:
    network = make_network(name, 3, channels=2, cells=2, input_shape=(4, 4, 1))
    assert network.genotype is GENOTYPES[name]
    assert network(images(2, 4, 4, 1)).shape == (2, 3)


def test_arguments_and_options_arrive(tmp_path: Path) -> None:
    GENOTYPES["racl"].save(tmp_path / "found.JSON")
    arguments: dict[str, Any] = {"input_shape": (7, 9, 3), "mean": 0.3, "std": (0.1, 0.2, 0.3), "seed": 4}
    for name in ("PC-Darts", tmp_path / "found.JSON"):
        network = make_network(name, 6, auxiliary=True, drop_path=0.1, **CELLS, **arguments)
        genotype = GENOTYPES["racl" if isinstance(name, Path) else "pc_darts"]
        truth = GenotypeNetwork(genotype, 6, auxiliary=True, drop_path=0.1, **CELLS, **arguments)
        for weight, true_weight in zip(network.weights, truth.weights, strict=True):
            np.testing.assert_array_equal(weight.numpy(), true_weight.numpy())
        assert {**network.get_config(), "name": ""} == {**truth.get_config(), "name": ""}


@each_baseline
@pytest.mark.parametrize("size", [(28, 28, 1), (4, 4, 3)])
def test_images_of_any_size_give_logits_of_a_sane_scale(name: str, size: tuple[int, int, int]) -> None:
    network = small(name, input_shape=size)
    assert network.input_shape == (None, *size)
    for training in (False, True):
        logits = network(images(4, *size), training=training).numpy()
        assert logits.shape == (4, 5)
        assert 0.02 < np.std(logits) < 5
    assert np.ptp(logits, axis=0).min() > 1e-3  # the images still matter


@each_baseline
def test_gradients_reach_every_weight_and_descent_reduces_the_loss(name: str) -> None:
    data = load_dataset("digits", train_size=24)
    network = small(name, num_classes=10, mean=data.mean, std=data.std)
    optimizer = keras.optimizers.Adam(0.02)
    losses: list[float] = []
    for _ in range(5):
        with tf.GradientTape() as tape:
            logits = network(data.train.images(), training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(data.train.y, logits))
        gradients = tape.gradient(loss, [weight.value for weight in network.trainable_weights])
        if not losses:
            for weight, gradient in zip(network.trainable_weights, gradients, strict=True):
                assert 0 < np.abs(gradient).max() < np.inf, weight.path
        optimizer.apply(gradients, network.trainable_weights)
        losses.append(float(loss))
    assert losses[0] == pytest.approx(np.log(10), abs=0.7)
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet81", {}, "Unknown network 'resnet81'. Did you mean 'resnet18'?.*robnet_large_v1.*racl"),
        ("resnet18", {"cells": 3}, "Unknown option of resnet18 'cells'.*Known: channels.$"),
        ("racl", {"chanels": 3}, "Unknown option of racl 'chanels'. Did you mean 'channels'?"),
        ("vgg19", {"num_classes": 0}, "num_classes=0"),
        ("no/such.json", {}, "Cannot read a genotype from 'no/such.json'"),
    ],
)
def test_errors_say_what_is_known(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_network(name, **arguments)
