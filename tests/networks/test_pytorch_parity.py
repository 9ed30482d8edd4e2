"""With the same weights, networks compute what the public PyTorch code of PC-DARTS computes.

Its code is not part of this repository. `RACL_TF_PCDARTS` names a checkout of github.com/yuhuixu1993/PC-DARTS and
`RACL_TF_TORCH_PYTHON` an interpreter that has PyTorch; without them these tests are skipped. PyTorch runs in its own
process, which makes the weights; what it computes comes back as an `.npz` file.

Weights are matched by order alone: both sides are walked as PyTorch defines its modules, and each array must fit.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.genotype_cell import GenotypeCell
from racl_tf.layers.mixed_cell import MixedCell
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.layers.operations import FactorizedReduction, Pool, ReLUConvBN, SeparableConv
from racl_tf.networks.cell_network import CellNetwork
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.supernet import Supernet
from racl_tf.space import EDGES, GENOTYPES, INPUTS, NODES, Cell, Genotype

CHECKOUT = os.environ.get("RACL_TF_PCDARTS")
INTERPRETER = os.environ.get("RACL_TF_TORCH_PYTHON")
TOLERANCE = 1e-5

pytestmark = pytest.mark.skipif(
    not (CHECKOUT and INTERPRETER), reason="needs RACL_TF_PCDARTS (a checkout) and RACL_TF_TORCH_PYTHON"
)

# Statistics come from training passes rather than from a generator: edges that leave one node pool the same
# input, so that their statistics are equal in every network that was ever trained, and here they are shared.
PYTORCH = """
import json, sys, types
import numpy as np
import torch

case = json.loads(sys.argv[1])
sys.path.insert(0, case["checkout"])
for name in ("torchvision", "torchvision.transforms"):
    sys.modules[name] = types.ModuleType(name)
torch.Tensor.cuda = lambda tensor, *_, **__: tensor
torch.manual_seed(0)

import genotypes

def images():
    return torch.rand(case["batch"], 3, 32, 32)

if case["genotype"] is None:
    import model_search
    network = model_search.Network(case["channels"], 10, case["cells"], torch.nn.CrossEntropyLoss())
    for parameter in network.arch_parameters():
        parameter.data.normal_()
else:
    import model
    genotype = case["genotype"]
    genotype = getattr(genotypes, genotype) if isinstance(genotype, str) else genotypes.Genotype(**genotype)
    network = model.NetworkCIFAR(case["channels"], 10, case["cells"], True, genotype)
    network.drop_path_prob = 0.0
for name, parameter in network.named_parameters():
    if parameter.ndim == 1 and "classifier" not in name:  # scale and offset of normalisations
        parameter.data.add_(0.3 * torch.randn_like(parameter))
with torch.no_grad():
    for _ in range(5):
        network(images())

def state(kind):
    tensors = network.state_dict().items()
    return {f"{kind}_{i:05}": tensor.numpy().copy() for i, (name, tensor) in enumerate(tensors)
            if not name.endswith("num_batches_tracked")}

x, labels = images(), torch.arange(case["batch"]) % 10
results = {"images": x.permute(0, 2, 3, 1).numpy(), "labels": labels.numpy(), **state("before")}
network.eval()
with torch.no_grad():
    output = network(x)
results["evaluation"] = (output if case["genotype"] is None else output[0]).numpy()
network.train()
output = network(x)
if case["genotype"] is None:
    torch.nn.CrossEntropyLoss()(output, labels).backward()
    results["training"] = output.detach().numpy()
    for name in ("alphas_normal", "alphas_reduce", "betas_normal", "betas_reduce"):
        results[name] = getattr(network, name).detach().numpy()
        results["gradient_" + name] = getattr(network, name).grad.numpy()
else:
    results["training"], results["auxiliary"] = (logits.detach().numpy() for logits in output)
    for kind in ("normal", "reduce"):
        results[kind] = json.dumps(getattr(genotype, kind))
        results[kind + "_concat"] = json.dumps(list(getattr(genotype, kind + "_concat")))
np.savez(sys.argv[2], **results, **state("after"))
"""


def run_pytorch(folder: Path, **case: Any) -> dict[str, np.ndarray]:
    script, results = folder / "pytorch.py", folder / "results.npz"
    script.write_text(PYTORCH)
    command = [str(INTERPRETER), str(script), json.dumps({"checkout": CHECKOUT, **case}), str(results)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(results) as arrays:
        return dict(arrays)


class Slot(NamedTuple):
    """Where an array of PyTorch belongs: in a variable, at an index, with its axes in another order."""

    variable: keras.Variable
    axes: tuple[int, ...] = (0,)
    index: Any = ...


CONVOLUTION = (2, 3, 1, 0)  # (out, in, height, width) to (height, width, in, out)
DEPTHWISE = (2, 3, 0, 1)  # (channels, 1, height, width) to (height, width, channels, 1)


def walk(layer: keras.layers.Layer) -> Iterator[Slot]:
    """Yields a layer's weights and statistics in the order in which PyTorch's module defines them."""
    match layer:
        case BatchNorm():
            parameters = [layer.gamma, layer.beta] if layer.affine else []
            yield from map(Slot, [*parameters, layer.moving_mean, layer.moving_variance])
        case ReLUConvBN() | FactorizedReduction():
            yield from (Slot(kernel, CONVOLUTION) for kernel in layer.kernels)
            yield from walk(layer.norm)
        case SeparableConv():
            for depthwise, pointwise, norm in zip(layer.depthwise, layer.pointwise, layer.norms, strict=True):
                yield from (Slot(depthwise, DEPTHWISE), Slot(pointwise, CONVOLUTION), *walk(norm))
        case GenotypeCell():
            for part in (*layer.preprocessing, *layer.operations):
                yield from walk(part)
        case MixedCell():
            for part in layer.preprocessing:
                yield from walk(part)
            for source, target in EDGES:
                yield from walk_edge(layer.sources[source], target - max(source + 1, INPUTS))
        case CellNetwork():
            yield from (Slot(layer.stem.kernel, CONVOLUTION), *walk(layer.stem.norm))
            for cell in layer.cells:
                yield from walk(cell)
            if getattr(layer, "auxiliary", None) is not None:
                auxiliary = layer.auxiliary
                yield from (*walk(auxiliary.project), Slot(auxiliary.kernel, CONVOLUTION), *walk(auxiliary.norm))
                yield from walk(auxiliary.head)
            yield from walk(layer.head)
        case keras.layers.Dense():
            yield from (Slot(layer.kernel, (1, 0)), Slot(layer.bias))
        case Pool() | keras.layers.Identity():
            return
        case _:
            raise TypeError(f"{layer} has no counterpart.")


def walk_edge(edges: MixedEdges, edge: int) -> Iterator[Slot]:
    """Yields what belongs to one of the stacked edges, by operation: pools, skip, separable, dilated."""

    def channels(group: int) -> Any:
        return np.s_[..., group * edges.mixed : (group + 1) * edges.mixed]

    def statistics(norm: BatchNorm, group: int) -> list[Slot]:
        return [Slot(variable, index=channels(group)) for variable in (norm.moving_mean, norm.moving_variance)]

    def block(depthwise: keras.Variable, pointwise: keras.Variable, norm: BatchNorm, operation: int) -> list[Slot]:
        group = operation * edges.edges + edge
        mine = np.s_[:, :, edge * edges.mixed : (edge + 1) * edges.mixed]
        kernels = [Slot(depthwise, DEPTHWISE, mine), Slot(pointwise, CONVOLUTION, channels(group))]
        return [*kernels, *statistics(norm, group)]

    yield from (*statistics(edges.pool_norm, 0), *statistics(edges.pool_norm, 1))
    if edges.skip_norm is not None:
        yield from (Slot(kernel, CONVOLUTION, np.s_[:, edge]) for kernel in (edges.skip_even, edges.skip_odd))
        yield from statistics(edges.skip_norm, edge)
    for operation, depthwise in enumerate(edges.first_depthwise):
        yield from block(depthwise, edges.first_pointwise, edges.first_norm, operation)
        if operation < len(edges.second_depthwise):
            second = edges.second_depthwise[operation]
            yield from block(second, edges.second_pointwise, edges.second_norm, operation)


def fitted(network: CellNetwork, results: dict[str, np.ndarray], when: str) -> Iterator[tuple[Slot, np.ndarray]]:
    """Yields each slot with its array of PyTorch `before` or `after` the training pass."""
    arrays = [results[key] for key in sorted(results) if key.startswith(f"{when}_")]
    for slot, array in zip(walk(network), arrays, strict=True):
        place = slot.variable.numpy()[slot.index]
        array = array.transpose(slot.axes)
        assert array.shape[array.ndim - place.ndim :] == place.shape, slot.variable.path
        yield slot, array.reshape(place.shape)


def load(network: CellNetwork, results: dict[str, np.ndarray]) -> None:
    filled = {id(variable): np.full(variable.shape, np.nan) for variable in network.weights}
    for slot, array in fitted(network, results, "before"):
        filled[id(slot.variable)][slot.index] = array
    for variable in network.weights:
        variable.assign(filled[id(variable)])


def compare(what: str, ours: Any, theirs: np.ndarray) -> None:
    difference = np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()
    print(f"{what}: {difference:.1e}", end="; ")
    assert difference < TOLERANCE, f"{what}: relative difference {difference:.1e}"


def compare_statistics(network: CellNetwork, results: dict[str, np.ndarray]) -> None:
    moving = [pair for pair in fitted(network, results, "after") if not pair[0].variable.trainable]
    ours = [slot.variable.numpy()[slot.index].ravel() for slot, _ in moving]
    compare("moving statistics", np.concatenate(ours), np.concatenate([array.ravel() for _, array in moving]))


def their_genotype(results: dict[str, np.ndarray]) -> Genotype:
    def cell(kind: str) -> Cell:
        edges = json.loads(str(results[kind]))
        return Cell(list(zip(edges[::2], edges[1::2], strict=True)), json.loads(str(results[f"{kind}_concat"])))

    return Genotype(cell("normal"), cell("reduce"))


def for_pytorch(genotype: Genotype) -> dict[str, Any]:
    """Returns the arguments of the namedtuple that the PyTorch code calls Genotype."""
    cells = {"normal": genotype.normal, "reduce": genotype.reduce}
    edges = {kind: [edge for node in cell.nodes for edge in node] for kind, cell in cells.items()}
    return edges | {f"{kind}_concat": cell.concat for kind, cell in cells.items()}


SMALL = {"channels": 16, "cells": 6, "batch": 4}
PAPER = {"channels": 36, "cells": 20, "batch": 4}


@pytest.mark.parametrize(
    ("name", "known_as", "size"),
    [
        ("nasnet", "NASNet", SMALL),
        ("amoebanet", "AmoebaNet", SMALL),
        ("darts_v1", "DARTS_V1", SMALL),
        ("darts", "DARTS_V2", SMALL),
        ("pc_darts", "PC_DARTS_cifar", SMALL),
        ("p_darts", None, SMALL),
        ("advrush", None, SMALL),
        ("racl", None, SMALL),
        ("racl", None, PAPER),
        ("nasnet", "NASNet", PAPER),
    ],
    ids=lambda value: f"C{value['channels']}_L{value['cells']}" if isinstance(value, dict) else value,
)
def test_genotype_network(name: str, known_as: str | None, size: dict[str, int], tmp_path: Path) -> None:
    results = run_pytorch(tmp_path, genotype=known_as or for_pytorch(GENOTYPES[name]), **size)
    genotype = their_genotype(results)
    if name in GENOTYPES:
        assert genotype == GENOTYPES[name]
    network = GenotypeNetwork(genotype, 10, channels=size["channels"], cells=size["cells"], auxiliary=True)
    load(network, results)

    compare("evaluation", network(results["images"]), results["evaluation"])
    logits, auxiliary = network(results["images"], training=True, auxiliary=True)
    compare("training", logits, results["training"])
    compare("auxiliary", auxiliary, results["auxiliary"])
    compare_statistics(network, results)


def softmax_by_node(betas: tf.Tensor) -> tf.Tensor:
    """Returns PC-DARTS's edge weights: a softmax over the edges that enter each node, 2 + 3 + 4 + 5 of them."""
    return tf.concat([tf.nn.softmax(part) for part in tf.split(betas, list(range(INPUTS, INPUTS + NODES)))], 0)


def test_supernet(tmp_path: Path) -> None:
    results = run_pytorch(tmp_path, genotype=None, channels=16, cells=8, batch=8)
    network = Supernet(10, channels=16, cells=8, partial=4)
    load(network, results)
    names = ("alphas_normal", "alphas_reduce", "betas_normal", "betas_reduce")
    architecture = [tf.constant(results[name]) for name in names]

    def logits(training: bool) -> tf.Tensor:
        alpha = tf.nn.softmax(tf.stack(architecture[:2]))
        beta = tf.stack([softmax_by_node(betas) for betas in architecture[2:]])
        return network(results["images"], alpha, beta, training=training)

    compare("evaluation", logits(training=False), results["evaluation"])
    with tf.GradientTape() as tape:
        tape.watch(architecture)
        outputs = logits(training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(results["labels"], outputs))
    compare("training", outputs, results["training"])
    for name, gradient in zip(names, tape.gradient(loss, architecture), strict=True):
        compare(f"gradient by {name}", gradient, results[f"gradient_{name}"])
    compare_statistics(network, results)
