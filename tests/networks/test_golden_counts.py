"""The numbers of trainable parameters that the reference implementations have."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import pytest

from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.supernet import Supernet


def count(variables: Iterable[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.mark.parametrize(("partial", "parameters"), [(4, 299_578), (1, 1_930_618)])
def test_supernet(partial: int, parameters: int) -> None:
    assert count(Supernet(10, channels=16, cells=8, partial=partial).trainable_variables) == parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("racl", 3_571_174),
        ("darts", 3_349_342),
        ("pc_darts", 3_634_678),
        ("nasnet", 3_830_950),
        ("amoebanet", 3_145_078),
    ],
)
def test_genotype_network(name: str, parameters: int) -> None:
    assert count(GenotypeNetwork(name, 10, channels=36, cells=20).trainable_variables) == parameters


def test_auxiliary_head_adds_its_own_parameters_only() -> None:
    features, classes = 4 * 16 * 4, 7  # 4 nodes of 16 channels, doubled twice
    sizes: dict[str, Any] = {"channels": 16, "cells": 6}
    without, with_head = (
        count(GenotypeNetwork("darts", classes, auxiliary=auxiliary, **sizes).trainable_variables)
        for auxiliary in (False, True)
    )
    project, convolve, classify = features * 128 + 2 * 128, 2 * 2 * 128 * 768 + 2 * 768, 768 * classes + classes
    assert with_head - without == project + convolve + classify
