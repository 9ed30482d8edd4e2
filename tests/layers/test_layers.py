"""What every layer and model owes to Keras: one harness that walks all of the package."""

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import racl_tf
from racl_tf.attacks import pgd
from racl_tf.defences.trades import Trades
from racl_tf.lipschitz.operation_norms import OperationNorms
from racl_tf.networks.robnet import FREE, LARGE_V1
from racl_tf.networks.supernet import Supernet
from racl_tf.networks.vgg import VGG19
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.point_architecture import PointArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.space import GENOTYPES
from racl_tf.training.adversarial_trainer import AdversarialTrainer

ALPHA_BETA = ((14, 8), (14,))


class Case(NamedTuple):
    """A layer's arguments, the shapes of its images (without the batch) and of what else `call` takes."""

    name: str
    arguments: dict[str, Any]
    images: tuple[int, ...] | list[tuple[int, ...]]
    weights: tuple[tuple[int, ...], ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})


NETWORK = {"channels": 4, "cells": 3, "input_shape": (7, 8, 3)}
IMAGES = (5, 6, 8)
SCALED = MappingProxyType({"scaled": True})
CELL = {"cell": GENOTYPES["amoebanet"].reduce, "channels": 4}
CASES = [
    Case("BatchNorm", {"affine": True}, IMAGES),
    Case("BatchNorm", {"affine": False}, IMAGES),
    Case("BatchNorm", {"affine": "fixed"}, IMAGES),
    Case("ReLUConvBN", {"filters": 6}, IMAGES),
    Case("ReLUConvBN", {"filters": 6, "kernels": ((1, 7), (7, 1)), "strides": ((1, 2), (2, 1))}, IMAGES),
    Case("SeparableConv", {"channels": 8, "kernel_size": 5, "stride": 2, "blocks": 2}, IMAGES),
    Case("SeparableConv", {"channels": 8, "kernel_size": 3, "stride": 2, "dilation": 2}, IMAGES),
    Case("SeparableConv", {"channels": 8, "kernel_size": 3, "affine": "fixed"}, IMAGES),
    Case("FactorizedReduction", {"filters": 5, "affine": False}, IMAGES),
    Case("Identity", {}, IMAGES),
    Case("Pool", {"kind": "max"}, IMAGES),
    Case("Pool", {"kind": "average", "stride": 2}, IMAGES),
    Case("GenotypeCell", CELL, [IMAGES, IMAGES]),
    Case("GenotypeCell", {**CELL, "reduction": True, "reduction_before": True}, [(9, 12, 8), IMAGES]),
    Case("GenotypeCell", {**CELL, "affine": "fixed"}, [IMAGES, IMAGES]),
    Case("MixedEdges", {"channels": 8, "edges": 3}, IMAGES, ((8, 3), (3,))),
    Case("MixedEdges", {"channels": 8, "edges": 3, "stride": 2, "partial": 1}, IMAGES, ((8, 3), (3,))),
    Case("MixedCell", {"channels": 8}, [IMAGES, IMAGES], ALPHA_BETA),
    Case("MixedCell", {"channels": 8, "reduction": True, "reduction_before": True}, [(9, 12, 8), IMAGES], ALPHA_BETA),
    Case("Stem", {"filters": 6}, (5, 6, 3)),
    Case("AuxiliaryHead", {"num_classes": 3}, IMAGES),
    Case("Supernet", {**NETWORK, "num_classes": 3, "channels": 8, "mean": 0.4}, (7, 8, 3), ((2, 14, 8), (2, 14))),
    Case("GenotypeNetwork", {"genotype": "racl", "num_classes": 3, "std": (0.1, 0.2, 0.3), **NETWORK}, (7, 8, 3)),
    Case("VGG19", {"num_classes": 3, "channels": 4, "input_shape": (7, 8, 3), "mean": (0.4, 0.5, 0.6)}, (7, 8, 3)),
    Case("ResNet18", {"num_classes": 3, "channels": 4, "input_shape": (7, 8, 3)}, (7, 8, 3)),
    Case("BasicBlock", {"filters": 8}, IMAGES),
    Case("BasicBlock", {"filters": 8, "stride": 2}, IMAGES),
    Case("DenseNet121", {"num_classes": 3, "growth": 2, "input_shape": (7, 8, 3)}, (7, 8, 3)),
    Case("RobNet", {**NETWORK, "num_classes": 3, "codes": LARGE_V1}, (7, 8, 3)),
    Case("RobNet", {**NETWORK, "num_classes": 3, "codes": FREE[:3]}, (7, 8, 3)),
    Case("L2Nonexpansive", {"num_classes": 3, "channels": 2, "input_shape": (7, 8, 3)}, (7, 8, 3), options=SCALED),
    Case("Ensemble", {"members": [VGG19(3, channels=4, input_shape=(7, 8, 3), seed=k) for k in range(2)]}, (7, 8, 3)),
    Case(
        "GenotypeNetwork",
        {"genotype": "nasnet", "num_classes": 3, "auxiliary": True, "drop_path": 0.2, **NETWORK},
        (7, 8, 3),
        options={"auxiliary": True},
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_network = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.images == (7, 8, 3)],
    ids=lambda case: case.name,
)
every_random_layer = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name not in ("BatchNorm", "Identity", "Pool", "Ensemble")],
    ids=lambda case: case.name,
)


ABSTRACT = {"CheckedModel", "Architecture", "CellNetwork", "ImageNetwork", "Operation"}


def supernet() -> Supernet:
    return Supernet(5, channels=4, cells=2, partial=2, input_shape=(7, 8, 3), mean=0.4, seed=3)


def network() -> VGG19:
    return VGG19(3, channels=4, input_shape=(7, 8, 3))


MADE_OF_OTHERS: dict[str, Callable[[], keras.layers.Layer]] = {
    "AdversarialTrainer": lambda: AdversarialTrainer(network(), Trades(pgd(0.1, 0.05, 2)), seed=5),
    "ConfidenceConstraint": lambda: ConfidenceConstraint(eta=0.6, rho=0.1, reduction=0.5, scale_free=True),
    "LogNormalArchitecture": lambda: LogNormalArchitecture(sigma=0.5),
    "OperationNorms": lambda: OperationNorms(supernet(), norm_kind="operator", batch_norm=True),
    "PointArchitecture": lambda: PointArchitecture(normalize="sum"),
    "RACLSearch": lambda: RACLSearch(supernet(), constraint=ConfidenceConstraint(), attack=pgd(0.1, 0.05, 2), seed=4),
}
"""The layers and models that do not map images to features or logits, each with settings that are not its defaults."""


def modules() -> list[ModuleType]:
    """Returns the imported modules of the package."""
    found = pkgutil.walk_packages(racl_tf.__path__, "racl_tf.")
    return [importlib.import_module(module.name) for module in found]


def registered() -> dict[str, type[keras.layers.Layer]]:
    """Returns the layers and models that these modules registered as serialisable, by name."""
    names = {module.__name__ for module in modules()}
    found = keras.saving.get_custom_objects().items()
    return {
        name.removeprefix("racl_tf>"): cls
        for name, cls in found
        if cls.__module__ in names and issubclass(cls, keras.layers.Layer)
    }


def test_every_layer_and_model_is_registered_and_has_a_case() -> None:
    layers = {
        name
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer) and value.__module__ == module.__name__
    }
    assert registered().keys() == layers - ABSTRACT
    assert registered().keys() == {case.name for case in CASES} | MADE_OF_OTHERS.keys()


@pytest.mark.parametrize("name", MADE_OF_OTHERS)
def test_config_makes_what_is_made_of_others_again(name: str) -> None:
    layer = MADE_OF_OTHERS[name]()
    written = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(written))
    assert type(again) is registered()[name] is type(layer)
    assert json.dumps(keras.saving.serialize_keras_object(again)) == written
    described, described_again = ([(v.name, v.shape, v.trainable) for v in one.variables] for one in (layer, again))
    assert described_again == described


def make(case: Case, **changes: Any) -> keras.layers.Layer:
    layer = registered()[case.name](**{**case.arguments, **changes})
    return build(layer, case)


def build(layer: keras.layers.Layer, case: Case) -> keras.layers.Layer:
    if not layer.built:
        layer.build(batched(case, None))
    return layer


def batched(case: Case, batch: int | None) -> Any:
    """Returns the images' shape or shapes with the batch's size in front."""
    return [(batch, *shape) for shape in case.images] if isinstance(case.images, list) else (batch, *case.images)


def draw(case: Case, batch: int = 3) -> list[Any]:
    """Returns random images, and weights of operations and edges, as `call` takes them."""
    rng = np.random.default_rng(0)
    shapes = batched(case, batch)
    images = [tf.constant(rng.uniform(size=shape), tf.float32) for shape in np.atleast_2d(shapes)]
    weights = [tf.constant(rng.uniform(0.1, 1, shape), tf.float32) for shape in case.weights]
    return [images if isinstance(shapes, list) else images[0], *weights]


def outputs_of(layer: keras.layers.Layer, case: Case, arguments: list[Any], *, training: bool = False) -> list:
    return tf.nest.flatten(layer(*arguments, training=training, **case.options))


def train(layer: keras.layers.Layer, case: Case) -> list[tf.Tensor]:
    """Takes one step of gradient descent and returns the gradients."""
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        outputs = outputs_of(layer, case, draw(case), training=True)
        loss = tf.add_n([tf.reduce_sum(output * rng.normal(size=output.shape)) for output in outputs])
    gradients = tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.01 * tf.convert_to_tensor(gradient))
    return gradients


def assert_equal(values: list, truth: list) -> None:
    for value, true_value in zip(values, truth, strict=True):
        np.testing.assert_allclose(value, true_value, rtol=1e-5, atol=1e-5)


@every_case
def test_config_makes_the_same_layer_again(case: Case) -> None:
    layer = make(case)
    train(layer, case)
    written = json.dumps(keras.saving.serialize_keras_object(layer))
    again = build(keras.saving.deserialize_keras_object(json.loads(written)), case)
    assert again.get_config() == layer.get_config()
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in layer.weights]
    again.set_weights(layer.get_weights())
    assert_equal(outputs_of(again, case, draw(case)), outputs_of(layer, case, draw(case)))


@every_case
def test_output_shape_is_known_with_any_batch_and_graph_equals_eager(case: Case) -> None:
    layer, arguments = make(case), draw(case)
    unknown = tf.nest.map_structure(lambda value: tf.TensorSpec([None, *value.shape[1:]]), arguments[0])
    signature = [unknown, *(tf.TensorSpec(value.shape) for value in arguments[1:])]
    graph = tf.function(lambda *values: outputs_of(layer, case, list(values))).get_concrete_function(*signature)
    eager = outputs_of(layer, case, arguments)
    assert_equal(graph(*arguments), eager)
    assert [output.shape[1:] for output in graph.structured_outputs] == [output.shape[1:] for output in eager]
    if case.name != "MixedEdges":  # internal: lists of two kinds of outputs
        assert layer.compute_output_shape(batched(case, 3)) == eager[0].shape
        assert layer.compute_output_shape(batched(case, None)) == (None, *eager[0].shape[1:])


@every_case
def test_a_gradient_step_changes_every_trainable_weight(case: Case) -> None:
    layer = make(case)
    before = [variable.numpy().copy() for variable in layer.trainable_variables]
    for gradient in train(layer, case):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()
    for variable, value in zip(layer.trainable_variables, before, strict=True):
        assert np.abs(variable.numpy() - value).max() > 0, variable.path


def kernels(layer: keras.layers.Layer) -> Iterator[np.ndarray]:
    """Yields the weights that are drawn at random."""
    return (variable.numpy() for variable in layer.trainable_variables if np.ptp(variable.numpy()) > 0)


@every_random_layer
def test_initial_weights_are_a_function_of_the_seed(case: Case) -> None:
    first, same, other = (list(kernels(make(case, seed=seed))) for seed in (1, 1, 2))
    assert first
    for one, two, three in zip(first, same, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert (one != three).mean() > 0.99
    # No two of a layer's kernels come from the same stream of random numbers.
    assert len({kernel.ravel()[0] / kernel.ravel()[1] for kernel in first}) == len(first)


@pytest.fixture
def bfloat16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@every_case
@pytest.mark.usefixtures("bfloat16")
def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_variables(case: Case) -> None:
    layer = make(case)
    gradients = train(layer, case)
    assert {variable.dtype for variable in layer.weights} <= {"float32", "int32"}
    assert all(np.isfinite(tf.cast(tf.convert_to_tensor(gradient), tf.float32)).all() for gradient in gradients)
    outputs = outputs_of(layer, case, draw(case))
    # Logits are float32 whatever the precision: losses and attacks need it.
    assert {output.dtype for output in outputs} == {tf.float32 if isinstance(layer, keras.Model) else tf.bfloat16}


@every_network
def test_saved_network_computes_the_same(case: Case, tmp_path: Path) -> None:
    network = make(case)
    train(network, case)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    for weight, again_weight in zip(network.weights, again.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), again_weight.numpy())
    for training in (False, True):
        truth = outputs_of(network, case, draw(case), training=training)
        assert_equal(outputs_of(again, case, draw(case), training=training), truth)
