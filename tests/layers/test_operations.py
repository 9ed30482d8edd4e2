"""The table of operations, and what the mixed edges derive from it."""

import pytest

from racl_tf.layers import mixed_operations
from racl_tf.layers.mixed_operations import BLOCKS, DEPTHWISE, NORMALIZATIONS, POOLED_MAPS, SKIP
from racl_tf.layers.operations import OPERATION_LAYERS, Pooling
from racl_tf.space import CANDIDATES, OPERATIONS, PUBLISHED_OPERATIONS


def test_the_table_has_every_operation_that_a_genotype_can_hold() -> None:
    assert OPERATION_LAYERS.keys() == ({*OPERATIONS, *PUBLISHED_OPERATIONS} - {"none"})


def test_blocks_lie_in_the_stacks_as_in_checkpoints() -> None:
    layout = [(block.operation, block.kernel_size, block.index_in_stack, block.dilation) for block in BLOCKS]
    assert layout == [
        ("sep_conv_3x3", 3, 0, 1),
        ("sep_conv_3x3", 3, 1, 1),
        ("dil_conv_3x3", 3, 2, 2),
        ("sep_conv_5x5", 5, 0, 1),
        ("sep_conv_5x5", 5, 1, 1),
        ("dil_conv_5x5", 5, 2, 2),
    ]
    assert [(block.level, block.last) for block in BLOCKS] == [(0, False), (1, True), (0, True)] * 2
    assert [block.index for block in BLOCKS] == list(range(6))
    assert DEPTHWISE == {"depthwise_3x3": 3, "depthwise_5x5": 5}


def test_normalisations_lie_in_the_moving_statistics_as_in_checkpoints() -> None:
    blocks = [block.operation for block in BLOCKS]
    assert [norm.operation for norm in NORMALIZATIONS] == [*blocks, "max_pool_3x3", "avg_pool_3x3", "skip_connect"]
    assert [norm.index for norm in NORMALIZATIONS] == list(range(9))
    assert [norm for norm in NORMALIZATIONS if norm.shared] == [pooled.norm for pooled in POOLED_MAPS]
    assert [norm for norm in NORMALIZATIONS if norm.at_stride_2_only] == [SKIP]


def test_the_mixture_has_every_operation_of_the_search_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"none", *(norm.operation for norm in NORMALIZATIONS)} == set(OPERATIONS)
    monkeypatch.setattr(mixed_operations, "CANDIDATES", (*CANDIDATES, "conv_7x1_1x7"))
    with pytest.raises(TypeError, match="does not know how to compute 'conv_7x1_1x7'"):
        mixed_operations._of_kind(Pooling)
