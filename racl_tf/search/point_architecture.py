"""Architecture weights alpha and beta that are trained as they are."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.errors import unknown
from racl_tf.lipschitz.surrogate import LogNormal
from racl_tf.space import EDGES, OPERATIONS, Genotype, select_genotype

CELL_TYPES = ("normal", "reduce")
NORMALIZATIONS = ("none", "sum")
_INPUTS = np.array([target for _, target in EDGES])


@keras.saving.register_keras_serializable("racl_tf")
class PointArchitecture(keras.layers.Layer):
    r"""alpha = exp(mu_alpha) and beta = exp(mu_beta), trained as they are: no distribution, no confidence.

    alpha weighs the operations of each edge, shape (2, 14, 8), beta the edges, shape (2, 14);
    the first axis is the cell type, normal or reduction. At the start the weights are those of
    PC-DARTS: alpha = 1/8, beta = 1 / (inputs of the node).

    It is the limit of `LogNormalArchitecture` at sigma = 0: with raw weights RACL without confidence learning
    (Table 5), with `normalize="sum"`, which makes softmax(mu) of exp(mu), PC-DARTS, and without edges' weights DARTS.

    Arguments:
        normalize: "none": the weights are exp(mu); "sum": divided by their sum over an edge's operations
            (alpha) and a node's inputs (beta), while mu, and so a constraint, stays raw.
        edges: whether edges are weighed; beta is 1 otherwise.

    Raises:
        UsageError: the normalization is unknown.

    Differences from the papers:
        RACL without confidence learning keeps alpha and beta positive, which Eq. 10 takes for granted. PC-DARTS and
        DARTS start at small random logits, not at equal ones.
    """

    def __init__(self, *, normalize: str = "none", edges: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if normalize not in NORMALIZATIONS:
            raise unknown("normalization", normalize, NORMALIZATIONS)
        self.normalize = normalize
        self.edges = edges
        alpha, beta = (start.astype(np.float32) for start in self._start())
        self.mu_alpha = self.add_weight(alpha.shape, lambda *_, **__: alpha, name="mu_alpha", autocast=False)
        self.mu_beta = self.add_weight(
            beta.shape, lambda *_, **__: beta, name="mu_beta", autocast=False, trainable=edges
        )
        self.built = True

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        alpha = np.full([len(CELL_TYPES), len(EDGES), len(OPERATIONS)], -math.log(len(OPERATIONS)))
        beta = np.tile(-np.log(_INPUTS) if self.edges else np.zeros(len(EDGES)), [len(CELL_TYPES), 1])
        return alpha, beta

    @property
    def mu(self) -> list[keras.Variable]:
        """mu_alpha and mu_beta."""
        return [self.mu_alpha, self.mu_beta]

    def initial_mu(self) -> list[tf.Tensor]:
        """Returns where mu_alpha and mu_beta started, the anchor of their weight decay."""
        return [tf.constant(start, tf.float32) for start in self._start()]

    @property
    def sigma_logits(self) -> list[keras.Variable]:
        """What the spread of the weights is trained through; nothing here."""
        return []

    def parameters(self) -> tuple[LogNormal, LogNormal]:
        """Returns the log-space mean mu and variance sigma^2 (0 here) of alpha and of beta."""
        return tuple(  # type: ignore[return-value]
            LogNormal(mean := tf.convert_to_tensor(mu), tf.zeros_like(mean)) for mu in self.mu
        )

    def call(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns alpha (2, 14, 8) and beta (2, 14); a seed, int32 (2,), changes nothing."""
        del seed
        return self.median()

    def median(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns exp(mu) of alpha and beta, which evaluation uses."""
        return self._normalized(*(tf.exp(mu) for mu in self.mu))

    def _normalized(self, alpha: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.normalize == "none":
            return alpha, beta
        alpha = alpha / tf.reduce_sum(alpha, -1, keepdims=True)
        return alpha, beta / sum_over_node(beta) if self.edges else beta

    def edge_scores(self) -> np.ndarray:
        """Returns alpha * beta at the median, exp(mu_alpha + mu_beta) if they are raw, shape (2, 14, 8)."""
        alpha, beta = self.median()
        return alpha.numpy() * beta.numpy()[..., None]

    def genotype(self, name: str | None = None) -> Genotype:
        """Returns the architecture that the medians select (see `racl_tf.space.select_genotype`)."""
        return select_genotype(self.edge_scores(), name=name)

    def compute_output_shape(self, _: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(self.mu_alpha.shape), tuple(self.mu_beta.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalize": self.normalize, "edges": self.edges}


def sum_over_node(beta: tf.Tensor) -> tf.Tensor:
    """Returns, for each edge (..., 14), the sum of beta over all edges into its node."""
    same_node = tf.constant(_INPUTS[:, None] == _INPUTS[None], beta.dtype)
    return tf.linalg.matvec(same_node, beta)
