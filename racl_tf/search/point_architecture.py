"""Architecture weights alpha and beta that are trained as they are."""

from typing import Any

import keras
import tensorflow as tf

from racl_tf.search.architecture import Architecture


@keras.saving.register_keras_serializable("racl_tf")
class PointArchitecture(Architecture):
    r"""alpha = exp(mu_alpha) and beta = exp(mu_beta), trained as they are: no distribution, no confidence.

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
        self.edges = edges
        super().__init__(normalize=normalize, **kwargs)

    def sample(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns alpha (2, 14, 8) and beta (2, 14), the same for every seed."""
        del seed
        return self.median()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "edges": self.edges}
