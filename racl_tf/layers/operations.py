"""The table of operations: what makes the layer that each name of an edge stands for.

A new operation is a subclass of `Operation` in a file of its own and a line here (and its name among those that
genotypes are read by, `racl_tf.space.PUBLISHED_OPERATIONS`). The network of a genotype, its surrogate norm and its
bound then know it. The supernet computes its operations fused, not by these layers: see `MixedEdges` for what it needs.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from racl_tf.layers.batch_norm import Affine
from racl_tf.layers.factorized_reduction import FactorizedReduction
from racl_tf.layers.identity import Identity
from racl_tf.layers.operation import Operation
from racl_tf.layers.pool import Pool
from racl_tf.layers.relu_conv_bn import ReLUConvBN
from racl_tf.layers.separable_conv import SeparableConv


class OperationMaker(Protocol):
    """What makes an operation's layer: a subclass of `Operation`, a function or one of the records below."""

    def __call__(self, channels: int, *, stride: int, affine: Affine, seed: int, dtype: Any) -> Operation:
        """Returns the layer.

        Arguments:
            channels: of its inputs and its outputs.
            stride: 1 or 2.
            affine: whether its normalisations have a scale and offset (see `BatchNorm`).
            seed: of the initial kernels.
            dtype: the policy of precision.
        """
        ...


@dataclass(frozen=True)
class Pooling:
    """A 3x3 pool of a kind, "max" or "average"."""

    kind: str

    def __call__(self, channels: int, *, stride: int, affine: Affine, seed: int, dtype: Any) -> Operation:
        return Pool(self.kind, stride=stride, dtype=dtype)


@dataclass(frozen=True)
class Skip:
    """The identity, and at stride 2 a factorised reduction."""

    def __call__(self, channels: int, *, stride: int, affine: Affine, seed: int, dtype: Any) -> Operation:
        if stride == 1:
            return Identity(dtype=dtype)
        return FactorizedReduction(channels, affine=affine, seed=seed, dtype=dtype)


@dataclass(frozen=True)
class Separable:
    """Blocks of depthwise and 1x1 convolution, see `SeparableConv`."""

    kernel_size: int
    blocks: int = 1
    dilation: int = 1

    def __call__(self, channels: int, *, stride: int, affine: Affine, seed: int, dtype: Any) -> Operation:
        return SeparableConv(
            channels,
            self.kernel_size,
            stride=stride,
            dilation=self.dilation,
            blocks=self.blocks,
            affine=affine,
            seed=seed,
            dtype=dtype,
        )


def crossed(channels: int, *, stride: int, affine: Affine, seed: int, dtype: Any) -> Operation:
    """Returns a 1x7 and a 7x1 convolution in a row, each with the stride along its kernel."""
    strides = ((1, stride), (stride, 1))
    return ReLUConvBN(channels, kernels=((1, 7), (7, 1)), strides=strides, affine=affine, seed=seed, dtype=dtype)


OPERATION_LAYERS: dict[str, OperationMaker] = {
    "max_pool_3x3": Pooling("max"),
    "avg_pool_3x3": Pooling("average"),
    "skip_connect": Skip(),
    "sep_conv_3x3": Separable(3, blocks=2),
    "sep_conv_5x5": Separable(5, blocks=2),
    "sep_conv_7x7": Separable(7, blocks=2),
    "dil_conv_3x3": Separable(3, dilation=2),
    "dil_conv_5x5": Separable(5, dilation=2),
    "conv_7x1_1x7": crossed,
}
"""What makes the layer of each operation that a genotype's edge can hold."""
