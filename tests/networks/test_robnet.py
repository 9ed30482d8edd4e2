"""RobNet: the size of the published ones, what each code computes, saving, errors."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.errors import UsageError
from racl_tf.networks.registry import make_network
from racl_tf.networks.robnet import FREE, LARGE_V1, RobNet, robnet_cell

NODES = [range(0, 2), range(2, 5), range(5, 9), range(9, 14)]
"""The places in a code of the edges into each node; their sources count from 0."""


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("robnet_small", 4_359_574), ("robnet_large_v1", 6_842_710), ("robnet_free", 5_439_790)],
)
def test_it_has_the_published_number_of_parameters(name: str, parameters: int) -> None:
    """Those that the published code makes with its configurations for CIFAR-10: C = 36, 20 layers."""
    network = make_network(name)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == parameters
    for cell in network.cells:
        fixed = {weight.name: weight.numpy() for weight in cell.non_trainable_weights}
        assert fixed.keys() == {"gamma", "beta", "moving_mean", "moving_variance"}
        np.testing.assert_array_equal(fixed["gamma"], 1)
        np.testing.assert_array_equal(fixed["beta"], 0)
    assert len(network.stem.trainable_weights) == 3  # the stem's normalisation is an ordinary one


def test_large_v1_is_the_published_code() -> None:
    published = "11 11 11 11 11 01 11 01 10 11 01 01 01 11"
    assert robnet_cell(LARGE_V1) == robnet_cell(published)
    assert sum(len(edges) for edges in robnet_cell(published).nodes) == published.count("1")


edge_codes = st.lists(st.sampled_from(["00", "01", "10", "11"]), min_size=14, max_size=14)
valid_codes = edge_codes.filter(lambda edges: all({edges[place] for place in places} != {"00"} for places in NODES))


@settings(max_examples=8, deadline=None)
@given(st.lists(valid_codes, min_size=3, max_size=3))
def test_a_node_sums_what_the_codes_of_its_edges_say(codes: list[list[str]]) -> None:
    """When every normalisation gives 1, so does every separable convolution, and nodes are sums of ones."""
    network = RobNet([" ".join(edges) for edges in codes], channels=2, cells=3, input_shape=(4, 4, 1))
    for cell, edges in zip(network.cells, codes, strict=True):
        for weight in cell.weights:
            if weight.name in ("gamma", "beta"):
                weight.assign(tf.fill(weight.shape, float(weight.name == "beta")))
        nodes = [1, 1]
        for places in NODES:
            terms = [int(edges[place][1]) + int(edges[place][0]) * nodes[i] for i, place in enumerate(places)]
            nodes.append(sum(terms))
        before, last = (layer.kernels[0].shape[2] for layer in cell.preprocessing)
        size = 2 if cell.reduction_before else 1
        outputs = cell([tf.zeros([1, 4 * size, 4 * size, before]), tf.zeros([1, 4, 4, last])]).numpy()
        assert outputs.shape[1] == (2 if cell.reduction else 4)
        np.testing.assert_array_equal(outputs[0, 1, 1].reshape(4, -1), np.outer(nodes[2:], np.ones(cell.channels)))


def test_config_keeps_the_code_of_each_cell() -> None:
    network = RobNet(list(FREE[:3]), 3, channels=2, cells=3, input_shape=(8, 8, 1))
    again = RobNet.from_config(network.get_config())
    assert [cell.cell for cell in again.cells] == [robnet_cell(code) for code in FREE[:3]]
    assert again.get_config() == network.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"codes": "11 10"}, "14 times 00, 01, 10 or 11. Received: '11 10'"),
        ({"codes": LARGE_V1.replace("10", "12")}, "14 times 00, 01, 10 or 11.*12"),
        ({"codes": LARGE_V1.replace("11 11 |", "00 00 |")}, "node 2: a node needs at least one edge"),
        ({"codes": FREE}, "one for all cells, or one for each cell. Received: 20 codes, cells=3"),
        ({"cells": 0}, "cells=0"),
        ({"channels": 1.5}, "channels=1.5"),
    ],
)
def test_unusable_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RobNet(**{"codes": LARGE_V1, "channels": 2, "cells": 3, "input_shape": (8, 8, 1), **arguments})
