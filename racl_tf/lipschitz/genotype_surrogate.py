"""The paper's surrogate of the Lipschitz constant, of a discrete network instead of a supernet."""

import math

from racl_tf.errors import unknown
from racl_tf.lipschitz.operation_norms import NORM_KINDS
from racl_tf.networks.genotype_network import GenotypeNetwork


def log_surrogate(network: GenotypeNetwork, *, norm_kind: str = "matrix") -> float:
    r"""Returns ln prod_k prod_j sum_i lambda_ij, Eq. 10 where every edge of the cell holds one operation.

    It makes networks comparable however their cells were found, also at random. It is no bound.

    Arguments:
        network: a trained network of a genotype.
        norm_kind: of an operation's norm, "matrix" or "operator" (see `OperationNorms`).

    Raises:
        UsageError: the kind of norm is unknown.

    >>> network = GenotypeNetwork("racl", 10, channels=4, cells=3, input_shape=(8, 8, 1))
    >>> log_surrogate(network) < log_surrogate(network, norm_kind="operator")
    True
    """
    if norm_kind not in NORM_KINDS:
        raise unknown("kind of an operation's norm", norm_kind, NORM_KINDS)
    total = 0.0
    for cell in network.cells:
        norms = iter(layer.lipschitz_norm(norm_kind) for layer in cell.operations)
        total += sum(math.log(sum(next(norms) for _ in edges)) for edges in cell.cell.nodes)
    return total
