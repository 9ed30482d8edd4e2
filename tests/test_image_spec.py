"""One value for a network's images: its checks, and the ways to give it to a network."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from racl_tf.data import Dataset, ImageSet
from racl_tf.errors import UsageError
from racl_tf.image_spec import ImageSpec
from racl_tf.networks import L2Nonexpansive, ResNet18, Supernet, make_network, network_options

SPEC = ImageSpec(5, input_shape=(8, 9, 3), mean=(0.4, 0.5, 0.6), std=0.2)
KEYWORDS: dict[str, Any] = {"input_shape": (8, 9, 3), "mean": (0.4, 0.5, 0.6), "std": 0.2}


def test_it_holds_a_number_per_channel_and_stays_as_it_is() -> None:
    lists: Any = {"input_shape": [8, 9, 3], "mean": [0.4, 0.5, 0.6]}
    assert ImageSpec(5, **lists, std=(0.2, 0.2, 0.2)) == SPEC
    assert SPEC.std == (0.2, 0.2, 0.2)
    assert hash(replace(SPEC)) == hash(SPEC)
    assert replace(SPEC, num_classes=7).num_classes == 7
    with pytest.raises(FrozenInstanceError):
        SPEC.num_classes = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "`num_classes` must be a positive integer. Received: num_classes=0."),
        ({"num_classes": 2.0}, "num_classes=2.0"),
        ({"input_shape": (8, 8)}, r"`input_shape` must be \(height, width, channels\).*\(8, 8\)"),
        ({"input_shape": (8, 8, 2)}, "1 or 3 channels"),
        ({"input_shape": (0, 8, 3)}, r"\(0, 8, 3\)"),
        ({"mean": (0.1, 0.2)}, "`mean` must be one number or one for each of 3 channels"),
        ({"std": 0}, "`std` must be positive. Received: std=0."),
    ],
)
def test_unusable_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    for make in (ImageSpec, ResNet18):
        with pytest.raises(UsageError, match=message):
            make(**arguments)


def test_a_dataset_gives_its_own() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(4, dtype=np.int32)
    train, test = (ImageSet(rng.random((4, 6, 5, 3), np.float32), labels) for _ in range(2))
    data = Dataset("mine", train, test, tuple("abcd"))
    assert data.spec == ImageSpec(4, input_shape=(6, 5, 3), mean=data.mean, std=data.std)
    assert ResNet18(data.spec, channels=2).spec == data.spec


def test_a_network_takes_it_whole_or_by_keywords() -> None:
    sizes: dict[str, Any] = {"channels": 2, "seed": 3}
    networks = [
        ResNet18(SPEC, **sizes),
        ResNet18(spec=SPEC, **sizes),
        ResNet18(5, **sizes, **KEYWORDS),
        ResNet18(num_classes=5, **sizes, **KEYWORDS),
        make_network("resnet18", SPEC, **sizes),
        make_network("resnet18", spec=SPEC, **sizes),
        make_network("resnet18", 5, **sizes, **KEYWORDS),
        make_network("resnet18", num_classes=5, **sizes, **KEYWORDS),
    ]
    for network in networks:
        assert network.spec == SPEC
        assert {**network.get_config(), "name": ""} == {**networks[0].get_config(), "name": ""}
        for weight, first in zip(network.weights, networks[0].weights, strict=True):
            np.testing.assert_array_equal(weight.numpy(), first.numpy())


def test_a_network_s_configuration_is_flat() -> None:
    config = ResNet18(SPEC, channels=2, seed=3).get_config()
    flat = {**KEYWORDS, "std": (0.2, 0.2, 0.2), "num_classes": 5, "seed": 3, "channels": 2}
    assert {name: config[name] for name in flat} == flat
    assert "spec" not in config


def test_by_default_it_is_of_cifar_s_size() -> None:
    network = Supernet(channels=4, cells=1)
    assert network.spec == ImageSpec() == ImageSpec(10, input_shape=(32, 32, 3), mean=0.0, std=1.0)
    assert (network.num_classes, network.image_shape, network.input_shape) == (10, (32, 32, 3), (None, 32, 32, 3))


def test_what_is_said_twice_is_refused() -> None:
    for make in (ResNet18, lambda *args, **options: make_network("resnet18", *args, **options)):
        with pytest.raises(UsageError, match=r"`spec` says what the images are\. Leave out mean"):
            make(SPEC, mean=0.3)
        with pytest.raises(UsageError, match="two numbers of classes: 5 and 4"):
            make(5, num_classes=4)


def test_the_nonexpansive_network_never_divides() -> None:
    assert L2Nonexpansive(SPEC, channels=2).spec == replace(SPEC, std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("resnet18", ["channels"]),
        ("densenet121", ["growth"]),
        ("vgg19", ["channels"]),
        ("l2nnn", ["channels"]),
        ("robnet_free", ["channels", "cells"]),
        ("racl", ["channels", "cells", "auxiliary", "drop_path", "drop_path_ramp"]),
    ],
)
def test_options_are_a_network_s_own(name: str, own: list[str]) -> None:
    assert network_options(name) == own
