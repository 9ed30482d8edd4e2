"""A new operation is a class and a line in the table: networks of genotypes, their norm and their bound know it."""

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.layers import functional
from racl_tf.layers.initializers import uniform
from racl_tf.layers.operation import Operation
from racl_tf.layers.operations import OPERATION_LAYERS
from racl_tf.layers.spectral import Size, convolution_bound, kernel_norm
from racl_tf.lipschitz import lipschitz_bounds, log_surrogate
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.space import Genotype, genotype
from racl_tf.training.adversarial_trainer import AdversarialTrainer


class Conv1x1(Operation):
    """A 1x1 convolution, and nothing else."""

    def __init__(
        self, channels: int, *, stride: int = 1, affine: bool | str = True, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.stride = stride
        self.seed = seed

    def build(self, input_shape: tuple[Any, ...]) -> None:
        shape = (1, 1, input_shape[-1], self.channels)
        self.kernel = self.add_weight(shape, uniform(input_shape[-1], self.seed), name="kernel")
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return functional.convolution(inputs, tf.convert_to_tensor(self.kernel), (self.stride, self.stride))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, _ = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), self.channels

    def lipschitz_norm(self, norm_kind: str = "matrix") -> float:
        return kernel_norm(self.kernel.numpy())

    def lipschitz_bound(self, size: Size) -> float:
        return convolution_bound(np.asarray(self.kernel, np.float64), size, strides=(self.stride, self.stride))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> GenotypeNetwork:
    monkeypatch.setitem(OPERATION_LAYERS, "conv_1x1", Conv1x1)
    monkeypatch.setattr(genotype, "_ALLOWED", (*genotype._ALLOWED, "conv_1x1"))
    cell = "conv_1x1<-0 skip_connect<-1 | conv_1x1<-2 -> concat 2-3"
    cells = Genotype.from_text(f"normal: {cell} reduce: {cell}")
    return GenotypeNetwork(cells, 5, channels=4, cells=3, input_shape=(8, 8, 1))


def test_it_is_built_and_trained(network: GenotypeNetwork) -> None:
    operations = [layer for cell in network.cells for layer in cell.operations if isinstance(layer, Conv1x1)]
    assert [layer.stride for layer in operations] == [1, 1, 2, 1, 2, 1]
    before = [layer.kernel.numpy() for layer in operations]
    trainer = AdversarialTrainer(network)
    trainer.compile(keras.optimizers.SGD(0.1))
    images = np.random.default_rng(0).random((10, 8, 8, 1), np.float32)
    trainer.fit(images, np.arange(10) % 5, batch_size=10, verbose=0)
    for layer, kernel in zip(operations, before, strict=True):
        assert np.abs(layer.kernel.numpy() - kernel).max() > 0


@pytest.mark.parametrize("norm_kind", ["matrix", "operator"])
def test_its_norm_is_part_of_the_surrogate(network: GenotypeNetwork, norm_kind: str) -> None:
    total = 0.0
    for cell in network.cells:
        first, skip, second = cell.operations
        norms = [np.linalg.norm(layer.kernel.numpy()[0, 0], 2) for layer in (first, second)]
        total += math.log(norms[0] + skip.lipschitz_norm(norm_kind)) + math.log(norms[1])
    assert log_surrogate(network, norm_kind=norm_kind) == pytest.approx(total, rel=1e-5)


def test_its_bound_is_part_of_the_network_s(network: GenotypeNetwork) -> None:
    images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    pair = lipschitz_bounds(network, images)
    assert 0 < pair.lower < pair.upper < np.inf
    last = network.cells[-1].operations[-1]  # the second node's, the first is beside it
    last.kernel.assign(1000 * last.kernel)
    assert 100 < lipschitz_bounds(network, images).upper / pair.upper < 1000


def test_an_operation_without_norm_or_bound_is_an_error() -> None:
    class Unknown(Operation):
        """Says nothing of itself."""

    with pytest.raises(NotImplementedError, match="No norm is known of Unknown"):
        Unknown().lipschitz_norm()
    with pytest.raises(NotImplementedError, match="No bound is known of Unknown"):
        Unknown().lipschitz_bound((2, 2))


def test_an_operation_that_is_not_in_the_table_is_none() -> None:
    with pytest.raises(UsageError, match="Unknown operation 'conv_1x1'"):
        Genotype.from_text("normal: conv_1x1<-0 -> concat 2 reduce: conv_1x1<-1 -> concat 2")
