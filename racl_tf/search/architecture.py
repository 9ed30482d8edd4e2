"""What a search trains: the weights alpha of operations and beta of edges, whatever they are made of."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.errors import unknown
from racl_tf.lipschitz.surrogate import LogNormal
from racl_tf.space import EDGES, OPERATIONS, Genotype, select_genotype

CELL_TYPES = ("normal", "reduce")
NORMALIZATIONS = ("none", "sum")
PER_REPLICA: Mapping[str, Any] = MappingProxyType({"autocast": False, "aggregation": "only_first_replica"})
"""How variables are made that all replicas move alike."""
_NUM_INPUTS = np.array([target for _, target in EDGES])  # of each edge's node


class Architecture(keras.layers.Layer):
    r"""The weights alpha and beta of a supernet, through their log-space means mu.

    alpha weighs the operations of each edge, shape (2, 14, 8), beta the edges, shape (2, 14); the first axis is the
    cell type, normal or reduction. At the start they are those of PC-DARTS: alpha = 1/8, beta = 1 / (inputs of the
    node).

    A subclass says what a step of the search uses (`sample`). It may also change what is used afterwards (`median`),
    where mu starts (`initial_mu`), how weights are scaled (`normalize`), and which variance mu comes with
    (`parameters`, trained through `sigma_logits`).

    Arguments:
        normalize: "none": the weights are exp(mu); "sum": divided by their sum over an edge's operations
            (alpha) and a node's inputs (beta), while mu, and so a constraint, stays raw.

    Raises:
        UsageError: the normalization is unknown.
    """

    edges: bool = True
    """Whether edges are weighed; beta is 1 otherwise."""

    def __init__(self, *, normalize: str = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if normalize not in NORMALIZATIONS:
            raise unknown("normalization", normalize, NORMALIZATIONS)
        self.normalization = normalize
        alpha, beta = self.initial_mu()
        self.mu_alpha = self.add_weight(alpha.shape, lambda *_, **__: alpha, name="mu_alpha", **PER_REPLICA)
        self.mu_beta = self.add_weight(
            beta.shape, lambda *_, **__: beta, name="mu_beta", trainable=self.edges, **PER_REPLICA
        )
        self.built = True

    def initial_mu(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns where mu_alpha (2, 14, 8) and mu_beta (2, 14) start, float32: the anchor of their weight decay."""
        alpha, beta = log_weights_of_pc_darts(edges=self.edges)
        return alpha.astype(np.float32), beta.astype(np.float32)

    def sample(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the alpha (2, 14, 8) and beta (2, 14) that a step uses, normalized.

        Gradients flow through to mu and `sigma_logits`.

        Arguments:
            seed: of the draw, stateless, int32 (2,).
        """
        raise NotImplementedError

    def median(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns exp(mu) of alpha and beta, normalized: what evaluation uses and the genotype is selected from."""
        return self.normalize(*(tf.exp(tf.convert_to_tensor(mu)) for mu in self.mu))

    def normalize(self, alpha: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns raw weights as they are, or divided by their sums over an edge's operations and a node's inputs."""
        if self.normalization == "none":
            return alpha, beta
        alpha = alpha / tf.reduce_sum(alpha, -1, keepdims=True)
        return alpha, beta / sum_over_node(beta) if self.edges else beta

    @property
    def mu(self) -> list[keras.Variable]:
        """mu_alpha and mu_beta."""
        return [self.mu_alpha, self.mu_beta]

    @property
    def sigma_logits(self) -> list[keras.Variable]:
        """What the spread of the weights is trained through; nothing where there is none."""
        return []

    def parameters(self) -> tuple[LogNormal, LogNormal]:
        """Returns the log-space mean mu and variance sigma^2 of alpha and of beta; the variance is 0 by default."""
        alpha, beta = (tf.convert_to_tensor(mu) for mu in self.mu)
        return LogNormal(alpha, tf.zeros_like(alpha)), LogNormal(beta, tf.zeros_like(beta))

    def initial_parameters(self) -> tuple[LogNormal, LogNormal]:
        """Returns the log-space means and variances that `parameters` had at the start, as constants."""
        alpha, beta = (tf.constant(mu, tf.float32) for mu in self.initial_mu())
        return LogNormal(alpha, tf.zeros_like(alpha)), LogNormal(beta, tf.zeros_like(beta))

    def sigma_slopes(self) -> list[tf.Tensor]:
        """Returns the derivatives of sigma of alpha and of beta by their `sigma_logits`, as far as there are any."""
        return []

    def shift(self, mu_steps: Sequence[tf.Tensor], sigma_steps: Sequence[tf.Tensor]) -> None:
        """Adds steps to mu of alpha and beta, as far as they are trained, and to sigma, which stays in its range."""
        del sigma_steps
        for variable, step in zip(self.mu, mu_steps, strict=True):
            if variable.trainable:
                variable.assign_add(step)

    def call(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `sample(seed)`."""
        return self.sample(seed)

    def edge_scores(self) -> np.ndarray:
        """Returns alpha * beta at the median, exp(mu_alpha + mu_beta) if they are raw, shape (2, 14, 8)."""
        alpha, beta = self.median()
        return alpha.numpy() * beta.numpy()[..., None]

    def genotype(self, name: str | None = None) -> Genotype:
        """Returns the architecture that the medians select (see `racl_tf.space.select_genotype`)."""
        return select_genotype(self.edge_scores(), name=name)

    def initial_genotype(self) -> Genotype:
        """Returns the architecture that was selected at the start, where all operations of an edge weigh the same."""
        alpha, beta = self.normalize(*(tf.exp(tf.constant(mu)) for mu in self.initial_mu()))
        return select_genotype(alpha.numpy() * beta.numpy()[..., None])

    def compute_output_shape(self, _: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(self.mu_alpha.shape), tuple(self.mu_beta.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalize": self.normalization}


def log_weights_of_pc_darts(*, edges: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Returns ln(1/8) for every operation (2, 14, 8) and -ln(inputs of the node), or 0, for every edge (2, 14)."""
    alpha = np.full([len(CELL_TYPES), len(EDGES), len(OPERATIONS)], -math.log(len(OPERATIONS)))
    beta = -np.log(_NUM_INPUTS) if edges else np.zeros(len(EDGES))
    return alpha, np.tile(beta, [len(CELL_TYPES), 1])


def sum_over_node(beta: tf.Tensor) -> tf.Tensor:
    """Returns, for each edge (..., 14), the sum of beta over all edges into its node."""
    same_node = tf.constant(_NUM_INPUTS[:, None] == _NUM_INPUTS[None], beta.dtype)
    return tf.linalg.matvec(same_node, beta)
