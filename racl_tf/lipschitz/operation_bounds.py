"""Upper bounds of the Lipschitz constants of a supernet's operations, in the L2 norm over all pixels and channels."""

import numpy as np

from racl_tf.layers.batch_norm import inverse_deviations
from racl_tf.layers.mixed_edges import MixedEdges
from racl_tf.layers.mixed_operations import BLOCKS, DEPTHWISE, POOLED_MAPS, SKIP
from racl_tf.layers.pool import POOLS
from racl_tf.layers.spectral import Size, depthwise_bounds, matrix_norm, strided
from racl_tf.space import OPERATIONS


def mixed_edges_bounds(layer: MixedEdges, size: Size) -> np.ndarray:
    """Returns bounds of the Lipschitz constants of every operation on the edges that leave one node (E, 8).

    Operations are those on the channels that are mixed, unweighted.

    Arguments:
        layer: of the supernet.
        size: (height, width) of its inputs.
    """
    kernels = {name: np.asarray(stack, np.float64) for name, stack in layer.matrices().items()}
    parts = np.split(inverse_deviations(layer.moving_variance), np.cumsum(layer.norm_channels)[:-1])
    factors = dict(zip(layer.normalizations, parts, strict=True))
    by_edge = (layer.edges, 1, layer.mixed)
    bounds = {"none": np.zeros(layer.edges), SKIP.operation: np.ones(layer.edges)}
    for pooled in POOLED_MAPS:
        bound = POOLS[pooled.kind].bound(size, layer.stride) * factors[pooled.norm].max()
        bounds[pooled.operation] = np.full(layer.edges, bound)
    if layer.stride == 2:
        halves = np.split(factors[SKIP].reshape(by_edge), [layer.mixed // 2], -1)
        skips = (kernels[name][0].transpose(1, 0, 2) for name in ("skip_even", "skip_odd"))
        bounds[SKIP.operation] = np.maximum(
            *(matrix_norm(skip * half) for skip, half in zip(skips, halves, strict=True))
        )
    stacks = {window: kernels[name] for name, window in DEPTHWISE.items()}
    after = strided(size, (layer.stride, layer.stride))
    for block in BLOCKS:
        window = block.kernel_size
        depthwise = stacks[window][block.index_in_stack].reshape(window, window, -1)
        images, stride = (size, layer.stride) if block.first else (after, 1)
        norms = depthwise_bounds(depthwise, images, stride=stride, dilation=block.dilation)
        pointwise = kernels["pointwise"][block.index].transpose(1, 0, 2)
        folded = norms.reshape(layer.edges, layer.mixed, 1) * pointwise * factors[block.norm].reshape(by_edge)
        bound = matrix_norm(folded)
        bounds[block.operation] = bound if block.first else bounds[block.operation] * bound
    return np.stack([bounds[operation] for operation in OPERATIONS], -1)
