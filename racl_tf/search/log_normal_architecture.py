"""The trainable log-normal distributions that alpha and beta are drawn from (Section 2.3)."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from racl_tf.errors import UsageError
from racl_tf.lipschitz.surrogate import LogNormal
from racl_tf.search.architecture import PER_REPLICA, Architecture, log_weights_of_pc_darts

SIGMA_RANGE = (1e-3, 1.0)


@keras.saving.register_keras_serializable("racl_tf")
class LogNormalArchitecture(Architecture):
    r"""alpha ~ LN(mu_alpha, sigma_alpha^2) and beta ~ LN(mu_beta, sigma_beta^2), all entries independent (Section 2.3).

    Draws are reparameterised, exp(mu + sigma * epsilon), so mu and sigma are trained by backpropagation. At the
    start the mean weights are those of PC-DARTS: E[alpha] = 1/8, E[beta] = 1 / (inputs of the node).

    Arguments:
        sigma: the initial log-space standard deviation of every entry, within (0.001, 1), where it stays.
        normalize: "none", the paper's; "sum": draws and medians are divided by their sum over an edge's
            operations (alpha) and a node's inputs (beta), while mu and sigma, and so the constraint, stay raw.

    Raises:
        UsageError: an argument is out of its range.

    Differences from the paper:
        beta is log-normal too (the "N" after Eq. 11 is a slip).

    >>> alpha, beta = LogNormalArchitecture(sigma=0.1).sample(tf.constant([0, 1]))
    >>> alpha.shape, beta.shape
    (TensorShape([2, 14, 8]), TensorShape([2, 14]))
    """

    def __init__(self, *, sigma: float = 0.1, normalize: str = "none", **kwargs: Any) -> None:
        low, high = SIGMA_RANGE
        if not low < sigma < high:
            raise UsageError(f"`sigma` must be between {low} and {high}, exclusive. Received: sigma={sigma!r}.")
        self.sigma_start = sigma
        super().__init__(normalize=normalize, **kwargs)
        fraction = (sigma - low) / (high - low)
        logit = keras.initializers.Constant(math.log(fraction / (1 - fraction)))
        self.sigma_logit_alpha, self.sigma_logit_beta = (
            self.add_weight(mu.shape, logit, name=mu.name.replace("mu", "sigma_logit"), **PER_REPLICA) for mu in self.mu
        )

    def initial_mu(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns where mu starts: sigma^2 / 2 below the logarithms of the mean weights."""
        alpha, beta = (weights - self.sigma_start**2 / 2 for weights in log_weights_of_pc_darts())
        return alpha.astype(np.float32), beta.astype(np.float32)

    def sample(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a reparameterised draw of alpha (2, 14, 8) and beta (2, 14) for a stateless seed, int32 (2,)."""
        seeds = tf.random.experimental.stateless_split(seed, 2)
        draws = [  # those of tfp.distributions.LogNormal, whose bijector keeps every graph that it was traced in
            tf.exp(tfp.distributions.Normal(mean, tf.sqrt(variance)).sample(seed=seeds[index]))
            for index, (mean, variance) in enumerate(self.parameters())
        ]
        return self.normalize(*draws)

    @property
    def sigma_logits(self) -> list[keras.Variable]:
        """What sigma_alpha and sigma_beta are trained through."""
        return [self.sigma_logit_alpha, self.sigma_logit_beta]

    def parameters(self) -> tuple[LogNormal, LogNormal]:
        """Returns (mu, sigma^2) of alpha and of beta, which gradients flow through."""
        return tuple(  # type: ignore[return-value]
            LogNormal(tf.convert_to_tensor(mu), tf.square(sigma))
            for mu, sigma in zip(self.mu, self.sigma(), strict=True)
        )

    def initial_parameters(self) -> tuple[LogNormal, LogNormal]:
        """Returns (mu, sigma^2) of alpha and of beta as they started."""
        return tuple(  # type: ignore[return-value]
            LogNormal(tf.constant(mu), tf.fill(mu.shape, np.float32(self.sigma_start**2))) for mu in self.initial_mu()
        )

    def sigma(self) -> list[tf.Tensor]:
        """Returns sigma of alpha (2, 14, 8) and of beta (2, 14)."""
        low, high = SIGMA_RANGE
        return [low + (high - low) * tf.sigmoid(logit) for logit in self.sigma_logits]

    def sigma_slopes(self) -> list[tf.Tensor]:
        """Returns the derivatives of sigma by its logit, (sigma - low) (high - sigma) / (high - low)."""
        low, high = SIGMA_RANGE
        return [(sigma - low) * (high - sigma) / (high - low) for sigma in self.sigma()]

    def shift(self, mu_steps: Sequence[tf.Tensor], sigma_steps: Sequence[tf.Tensor]) -> None:
        """Adds steps to mu and to sigma, which stays a hundredth inside its range."""
        low, high = SIGMA_RANGE
        for logit, sigma, step in zip(self.sigma_logits, self.sigma(), sigma_steps, strict=True):
            share = tf.clip_by_value((sigma + step - low) / (high - low), 0.01, 0.99)
            logit.assign(tf.math.log(share / (1 - share)))
        super().shift(mu_steps, ())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sigma": self.sigma_start}
