"""The trainable log-normal distributions that alpha and beta are drawn from (Section 2.3)."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from racl_tf.architecture.lipschitz import LogNormal
from racl_tf.errors import UsageError, unknown
from racl_tf.space import EDGES, OPERATIONS, Genotype, select_genotype

CELL_TYPES = ("normal", "reduce")
SIGMA_RANGE = (1e-3, 1.0)
NORMALIZATIONS = ("none", "sum")
_INPUTS = np.array([target for _, target in EDGES])


@keras.saving.register_keras_serializable("racl_tf")
class LogNormalArchitecture(keras.layers.Layer):
    r"""alpha ~ LN(mu_alpha, sigma_alpha^2) and beta ~ LN(mu_beta, sigma_beta^2), all entries independent.

    alpha weighs the operations of each edge, shape (2, 14, 8), beta the edges, shape (2, 14);
    the first axis is the cell type, normal or reduction. Draws are reparameterised,
    exp(mu + sigma * epsilon), so mu and sigma are trained by backpropagation. At the start
    the mean weights are those of PC-DARTS: E[alpha] = 1/8, E[beta] = 1 / (inputs of the node).

    Arguments:
        sigma: the initial log-space standard deviation of every entry, within (0.001, 1), where it stays.
        normalize: "none", the paper's; "sum": draws and medians are divided by their sum over an edge's
            operations (alpha) and a node's inputs (beta), while mu and sigma, and so the constraint, stay raw.

    Raises:
        UsageError: an argument is out of its range.

    Differences from the paper:
        beta is log-normal too (the "N" after Eq. 11 is a slip).

    >>> alpha, beta = LogNormalArchitecture(sigma=0.1)(tf.constant([0, 1]))
    >>> alpha.shape, beta.shape
    (TensorShape([2, 14, 8]), TensorShape([2, 14]))
    """

    def __init__(self, *, sigma: float = 0.1, normalize: str = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        low, high = SIGMA_RANGE
        if not low < sigma < high:
            raise UsageError(f"`sigma` must be between {low} and {high}, exclusive. Received: sigma={sigma!r}.")
        if normalize not in NORMALIZATIONS:
            raise unknown("normalization", normalize, NORMALIZATIONS)
        self.sigma = sigma
        self.normalize = normalize
        alpha_mean = np.full([len(CELL_TYPES), len(EDGES), len(OPERATIONS)], 1 / len(OPERATIONS))
        beta_mean = np.tile(1 / _INPUTS, [len(CELL_TYPES), 1])
        fraction = (sigma - low) / (high - low)
        logit = keras.initializers.Constant(math.log(fraction / (1 - fraction)))

        def weights(name: str, mean: np.ndarray) -> tuple[keras.Variable, keras.Variable]:
            start = (np.log(mean) - sigma**2 / 2).astype(np.float32)
            return (
                self.add_weight(mean.shape, lambda *_, **__: start, name=f"mu_{name}", autocast=False),
                self.add_weight(mean.shape, logit, name=f"sigma_logit_{name}", autocast=False),
            )

        self.mu_alpha, self.sigma_logit_alpha = weights("alpha", alpha_mean)
        self.mu_beta, self.sigma_logit_beta = weights("beta", beta_mean)
        self.built = True

    @property
    def mu(self) -> list[keras.Variable]:
        """mu_alpha and mu_beta."""
        return [self.mu_alpha, self.mu_beta]

    @property
    def sigma_logits(self) -> list[keras.Variable]:
        """What sigma_alpha and sigma_beta are trained through."""
        return [self.sigma_logit_alpha, self.sigma_logit_beta]

    def initial_mu(self) -> list[tf.Tensor]:
        """Returns where mu_alpha and mu_beta started, the anchor of their weight decay."""
        alpha = tf.fill(self.mu_alpha.shape, math.log(1 / len(OPERATIONS)))
        beta = tf.constant(np.tile(-np.log(_INPUTS), [len(CELL_TYPES), 1]), tf.float32)
        return [alpha - self.sigma**2 / 2, beta - self.sigma**2 / 2]

    def parameters(self) -> tuple[LogNormal, LogNormal]:
        """Returns (mu, sigma^2) of alpha and of beta, which gradients flow through."""
        low, high = SIGMA_RANGE
        return tuple(  # type: ignore[return-value]
            LogNormal(tf.convert_to_tensor(mu), tf.square(low + (high - low) * tf.sigmoid(logit)))
            for mu, logit in zip(self.mu, self.sigma_logits, strict=True)
        )

    def call(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a reparameterised draw of alpha (2, 14, 8) and beta (2, 14) for a stateless seed, int32 (2,)."""
        seeds = tf.random.experimental.stateless_split(seed, 2)
        draws = [
            tfp.distributions.LogNormal(mean, tf.sqrt(variance)).sample(seed=seeds[index])
            for index, (mean, variance) in enumerate(self.parameters())
        ]
        return self._normalized(*draws)

    def median(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns exp(mu) of alpha and beta, which evaluation uses."""
        return self._normalized(*(tf.exp(mu) for mu in self.mu))

    def _normalized(self, alpha: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.normalize == "none":
            return alpha, beta
        return alpha / tf.reduce_sum(alpha, -1, keepdims=True), beta / sum_over_node(beta)

    def edge_scores(self) -> np.ndarray:
        """Returns exp(mu_alpha + mu_beta), shape (2, 14, 8)."""
        return np.exp(self.mu_alpha.numpy() + self.mu_beta.numpy()[..., None])

    def genotype(self, name: str | None = None) -> Genotype:
        """Returns the architecture that the medians select (see `racl_tf.space.select_genotype`)."""
        return select_genotype(self.edge_scores(), name=name)

    def compute_output_shape(self, _: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(self.mu_alpha.shape), tuple(self.mu_beta.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sigma": self.sigma, "normalize": self.normalize}


def sum_over_node(beta: tf.Tensor) -> tf.Tensor:
    """Returns, for each edge (..., 14), the sum of beta over all edges into its node."""
    same_node = tf.constant(_INPUTS[:, None] == _INPUTS[None], beta.dtype)
    return tf.linalg.matvec(same_node, beta)
