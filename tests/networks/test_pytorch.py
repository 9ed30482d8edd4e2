"""Networks go to PyTorch's names and shapes and come back the same.

That PyTorch's public code gives the same logits for them is `test_pytorch_parity.py`'s.
"""

import pathlib
import sys

import keras
import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.networks import make_network
from racl_tf.networks.pytorch import CIFAR_MEAN, CIFAR_STD, from_pytorch, read_state_dict, to_pytorch

SIZE = {"channels": 4, "cells": 3}


@pytest.fixture(scope="module")
def network() -> keras.Model:
    network = make_network("amoebanet", 3, mean=CIFAR_MEAN, std=CIFAR_STD, auxiliary=True, **SIZE)
    network(images(), training=True)  # so that statistics are not the initial ones
    return network


@pytest.fixture(scope="module")
def state(network: keras.Model) -> dict[str, np.ndarray]:
    return to_pytorch(network)


def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(4, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_there_and_back_is_the_same_network(prefix: str, network: keras.Model, state: dict) -> None:
    again = from_pytorch({prefix + name: array for name, array in state.items()}, "amoebanet")
    assert (again.channels, len(again.cells), again.num_classes) == (4, 3, 3)
    for expected, found in zip(network(images(), auxiliary=True), again(images(), auxiliary=True), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_every_weight_has_a_name_and_a_shape_of_pytorch(network: keras.Model, state: dict) -> None:
    counted = {name: array for name, array in state.items() if not name.endswith("num_batches_tracked")}
    assert sum(array.size for array in counted.values()) == sum(weight.numpy().size for weight in network.weights)
    assert state["stem.0.weight"].shape == (12, 3, 3, 3)
    assert state["cells.0.preprocess0.op.1.weight"].shape == (4, 12, 1, 1)
    assert state["cells.2.preprocess0.conv_1.weight"].shape == (8, 12, 1, 1)  # half of 16
    assert state["classifier.weight"].shape == (3, network.head.kernel.shape[0])
    crossed = next(name for name, array in state.items() if array.shape[-2:] == (1, 7))
    assert crossed.split(".")[-2] == "1"
    assert state[crossed.replace(".1.weight", ".2.weight")].shape[-2:] == (7, 1)


def test_what_does_not_fit_is_said(state: dict) -> None:
    with pytest.raises(UsageError, match=r"not of this genotype: .* Give the genotype that it was trained with"):
        from_pytorch(state, "darts")
    other = {**state, "classifier.bias": np.zeros(4, np.float32)}
    with pytest.raises(UsageError, match=r"1 arrays are missing, .* such as classifier\.bias"):
        from_pytorch(other, "amoebanet")
    with pytest.raises(UsageError, match="holds no NetworkCIFAR of the code of DARTS: its arrays are called conv1"):
        from_pytorch({"conv1.weight": np.zeros(3)}, "darts")
    deep = {**state, "cells.9999.preprocess0.bn.bias": np.zeros(1)}
    with pytest.raises(UsageError, match="holds no NetworkCIFAR"):
        from_pytorch(deep, "amoebanet")
    with pytest.raises(UsageError, match=r"networks of genotypes alone\. Received: ResNet18"):
        to_pytorch(make_network("resnet18", 3, channels=2, input_shape=(8, 8, 1)))


def test_files_are_read_without_running_them(
    state: dict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file(state, tmp_path / "model.safetensors")
    read = read_state_dict(tmp_path / "model.safetensors")
    assert read.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(read[name], array)
    (tmp_path / "damaged.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(UsageError, match="is no state dict of arrays alone"):
        read_state_dict(tmp_path / "damaged.safetensors")
    with pytest.raises(UsageError, match=r"There is no file .*missing"):
        read_state_dict(tmp_path / "missing.pt")
    (tmp_path / "model.pt").write_bytes(b"\x80\x04.")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"Reading a \.pt file needs torch: .* Run: pip install torch"):
        read_state_dict(tmp_path / "model.pt")
