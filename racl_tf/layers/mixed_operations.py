"""What the mixed edges compute, and where each part's variables lie, derived from `OPERATION_LAYERS`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from racl_tf.layers.operations import OPERATION_LAYERS, Pooling, Separable, Skip
from racl_tf.space import CANDIDATES

T = TypeVar("T")


@dataclass(frozen=True)
class Normalization:
    """A batch normalisation of the mixed edges.

    Arguments:
        operation: whose output, or block's output, it normalises.
        index: where its moving statistics are, in their order.
        shared: whether all edges share it, as they share the map that it normalises.
        at_stride_2_only: whether there is none at stride 1.
    """

    operation: str
    index: int
    shared: bool = False
    at_stride_2_only: bool = False


@dataclass(frozen=True)
class Block:
    """ReLU, depthwise convolution, 1x1 convolution and normalisation, on all edges at once.

    Arguments:
        operation: that it is part of.
        index: of its 1x1 kernel in the stack of all blocks'.
        kernel_size: of its depthwise kernel.
        index_in_stack: of its depthwise kernel in the stack of this size's.
        dilation: of its depthwise convolution.
        level: how many blocks of its operation come before it; the first reads the node, with the edges' stride, each
            other one the block before it, which has the index before its own.
        last: whether its output is the operation's.
        norm: its normalisation.
    """

    operation: str
    index: int
    kernel_size: int
    index_in_stack: int
    dilation: int
    level: int
    last: bool
    norm: Normalization

    @property
    def first(self) -> bool:
        """Whether it is its operation's first."""
        return self.level == 0


@dataclass(frozen=True)
class PooledMap:
    """A pool of the node and its normalisation, the same for all edges."""

    operation: str
    kind: str
    norm: Normalization


def _blocks(separable: Mapping[str, Separable]) -> Iterator[Block]:
    """Yields the blocks of operations size by size, in the order of the stacks."""
    index = 0
    for size in sorted({made.kernel_size for made in separable.values()}):
        index_in_stack = 0
        for operation, made in separable.items():
            for level in range(made.blocks if made.kernel_size == size else 0):
                last, norm = level == made.blocks - 1, Normalization(operation, index)
                yield Block(operation, index, size, index_in_stack, made.dilation, level, last, norm)
                index, index_in_stack = index + 1, index_in_stack + 1


def _of_kind(kind: type[T]) -> dict[str, T]:
    """Returns the operations of the search cell that are made in one way."""
    made = {operation: OPERATION_LAYERS[operation] for operation in CANDIDATES}
    for operation, maker in made.items():
        if not isinstance(maker, Pooling | Skip | Separable):
            raise TypeError(f"The supernet does not know how to compute {operation!r}: see `MixedEdges`.")
    return {operation: maker for operation, maker in made.items() if isinstance(maker, kind)}


BLOCKS = tuple(_blocks(_of_kind(Separable)))
"""The blocks of all operations with convolutions."""

LAST = {block.operation: block.norm.index for block in BLOCKS if block.last}
"""The index of the normalisation that ends each operation with convolutions."""

POOLED_MAPS = tuple(
    PooledMap(operation, made.kind, Normalization(operation, index, shared=True))
    for index, (operation, made) in enumerate(_of_kind(Pooling).items(), start=len(BLOCKS))
)
"""The pools."""

(SKIP,) = (
    Normalization(operation, len(BLOCKS) + len(POOLED_MAPS), at_stride_2_only=True) for operation in _of_kind(Skip)
)
"""The skip's normalisation."""

NORMALIZATIONS = (*(block.norm for block in BLOCKS), *(pooled.norm for pooled in POOLED_MAPS), SKIP)
"""All normalisations, in the order of the moving statistics."""

LEVELS = tuple(
    tuple(block for block in BLOCKS if block.level == level)
    for level in range(1 + max(block.level for block in BLOCKS))
)
"""The blocks that read the node, those that read these, and so on: those of a level do not wait for each other."""

DEPTHWISE = {f"depthwise_{size}x{size}": size for size in sorted({block.kernel_size for block in BLOCKS})}
"""The sizes of depthwise kernels, by the name of their stack."""
