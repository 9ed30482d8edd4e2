r"""From log-normal alpha and beta to the log-normal Lipschitz constant of the network (Eqs. 8 to 12).

The constant of an edge is a weighted sum of operations' constants, the one of a node a
weighted sum of edges', the one of the network the product of all nodes' (Eq. 10). With
log-normal weights, sums are log-normal approximately (Fenton and Wilkinson: the first two
moments are matched) and products exactly, so that the pair of the log-space mean and
variance is handed from level to level. Everything is in log space; an operation without
influence (zero) has the log constant -inf.

These constants are the paper's surrogate, not a bound: node sums below one make the product
smaller than the true recursion, and a normalised network's constant is not the product of
its kernels'.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from racl_tf.space import INPUTS, NODES, edges_into


class LogNormal(NamedTuple):
    """The log-space mean and variance of log-normal variables, any equal shapes."""

    mean: tf.Tensor
    variance: tf.Tensor


def sum_of_log_normals(terms: LogNormal) -> LogNormal:
    r"""Returns the log-normal with the mean and variance of a sum of independent log-normals (Eq. 11).

    $$\sigma^2 = \ln\Big[\frac{\sum_o e^{2 m_o + v_o} (e^{v_o} - 1)}{(\sum_o e^{m_o + v_o / 2})^2} + 1\Big], \quad
    \mu = \ln \sum_o e^{m_o + v_o / 2} - \sigma^2 / 2$$

    Arguments:
        terms: means (..., n), -inf for a term that is zero, and variances (..., n), 0 for constants.

    Returns:
        means and variances (...).
    """
    log_means = terms.mean + terms.variance / 2
    log_mean = tf.reduce_logsumexp(log_means, -1)
    shares = tf.nn.softmax(log_means)
    variance = tf.math.log1p(tf.reduce_sum(tf.square(shares) * tf.math.expm1(terms.variance), -1))
    return LogNormal(log_mean - variance / 2, variance)


def edge_constants(alpha: LogNormal, log_norms: tf.Tensor) -> LogNormal:
    r"""Returns the distribution of `sum_o alpha_o lambda_o` of every edge (Eq. 8, log-normal by Eq. 11).

    Arguments:
        alpha: of each operation (..., edges, 8).
        log_norms: ln(lambda_o), same shape, taken as a constant; -inf for zero.
    """
    return sum_of_log_normals(LogNormal(alpha.mean + tf.stop_gradient(log_norms), alpha.variance))


def node_constants(beta: LogNormal, edges: LogNormal) -> LogNormal:
    r"""Returns the distribution of `sum_i beta_ij lambda_ij` of every node (Eq. 9, log-normal by Eq. 12).

    A product of independent log-normals adds their means and variances; the sum of these
    products is again approximated by its two moments.

    Arguments:
        beta: of each edge (..., 14).
        edges: the edges' constants (..., 14).

    Returns:
        (..., 4), one for each intermediate node.

    Differences from the paper:
        Eq. 12 as printed halves the variance twice. It is Eq. 11 with sigma_o^2 replaced by
        sigma_beta^2 + sigma_I^2, as the text says, which Monte Carlo confirms.
    """
    products = LogNormal(beta.mean + edges.mean, beta.variance + edges.variance)
    nodes = []
    for node in range(INPUTS, INPUTS + NODES):
        first = edges_into(node)[0]
        incoming = LogNormal(*(values[..., first : first + node] for values in products))
        nodes.append(sum_of_log_normals(incoming))
    return LogNormal(*(tf.stack(values, -1) for values in zip(*nodes, strict=True)))


def network_constant(
    alpha: LogNormal,
    beta: LogNormal,
    log_norms: tf.Tensor,
    cell_types: tf.Tensor,
    *,
    scale_free: bool = False,
    shared: bool = False,
) -> LogNormal:
    r"""Returns the distribution of `prod_k prod_j sum_i beta_ij sum_o alpha_o lambda_o`, without C (Eq. 10).

    Arguments:
        alpha: (2, 14, 8) for the normal and the reduction cell.
        beta: (2, 14).
        log_norms: ln(lambda) of each cell's operations (cells, 14, 8), constants of this step; -inf for zero.
        cell_types: (cells,) integers, 0 for a normal and 1 for a reduction cell.
        scale_free: measures relative weights: from the log-space mean of each edge and of each node the one of
            the weights alone is taken off (the same formulas with every lambda = 1, zero left out), so that a
            factor common to an edge's alpha or to a node's beta changes nothing.
        shared: sums what a draw adds to a node over all cells of a type before it is squared, as it is: these cells
            share their draw, so that sigma_F^2 = sum_types sum_nodes (sum_cells sigma)^2.

    Returns:
        mean mu_F and variance sigma_F^2, scalars.

    Differences from the paper:
        Cells of one type share alpha and beta and are correlated; like the paper this sums variances over
        all nodes of all cells as if they were independent, unless `shared`. `scale_free` is not in the paper.
    """
    alpha = LogNormal(*(tf.gather(values, cell_types) for values in alpha))
    beta = LogNormal(*(tf.gather(values, cell_types) for values in beta))
    edges = edge_constants(alpha, log_norms)
    if scale_free:
        ones = tf.where(tf.math.is_inf(log_norms), log_norms, 0.0)
        edges = LogNormal(edges.mean - edge_constants(alpha, ones).mean, edges.variance)
    nodes = node_constants(beta, edges)
    if scale_free:
        unit = LogNormal(tf.zeros_like(edges.mean), tf.zeros_like(edges.variance))
        nodes = LogNormal(nodes.mean - node_constants(beta, unit).mean, nodes.variance)
    if not shared:
        return LogNormal(tf.reduce_sum(nodes.mean), tf.reduce_sum(nodes.variance))
    by_type = tf.math.unsorted_segment_sum(safe_sqrt(nodes.variance), cell_types, 2)
    return LogNormal(tf.reduce_sum(nodes.mean), tf.reduce_sum(tf.square(by_type)))


def least_relative_mean(log_norms: tf.Tensor, cell_types: tf.Tensor) -> tf.Tensor:
    r"""Returns the least mu_F that a choice of alpha and beta can have, measured scale-free, a scalar.

    Relative weights are shares, and ln sum_i b_i sum_o a_io lambda_io is concave in the products of shares. So the
    least is at a corner, one operation on one edge for every node of a cell type:
    sum_types sum_nodes min_(i, o) sum_cells ln(lambda_io).

    Arguments:
        log_norms: ln(lambda) of each cell's operations (cells, 14, 8); -inf for zero, which is no choice.
        cell_types: (cells,) integers, 0 for a normal and 1 for a reduction cell.
    """
    chosen = tf.where(tf.math.is_inf(log_norms), math.inf, log_norms)
    by_edge = tf.reduce_min(tf.math.unsorted_segment_sum(chosen, cell_types, 2), -1)
    nodes = [tf.reduce_min(tf.gather(by_edge, edges_into(node), axis=1), 1) for node in range(INPUTS, INPUTS + NODES)]
    return tf.reduce_sum(tf.add_n(nodes))


def safe_sqrt(values: tf.Tensor) -> tf.Tensor:
    """Returns the square root of values of at least 0, whose gradient is 0 instead of infinite where they are 0.

    >>> print(safe_sqrt(tf.constant([0.0, 4.0])).numpy())
    [0. 2.]
    """
    positive = values > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, values, 1.0)), 0.0)
