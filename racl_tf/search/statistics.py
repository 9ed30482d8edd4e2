"""What a search did to the architecture, in numbers that tell a common shrink from a choice."""

import numpy as np

from racl_tf.search.architecture import Architecture
from racl_tf.space import INPUTS, NODES, OPERATIONS, edges_into

_ZERO = OPERATIONS.index("none")
_SKIP = OPERATIONS.index("skip_connect")
_NODE_EDGES = [edges_into(node) for node in range(INPUTS, INPUTS + NODES)]


def architecture_statistics(architecture: Architecture) -> dict[str, float]:
    """Returns how far mu has moved since the start, in common and relatively, and how sharp the medians are.

    A common factor in all alpha is absorbed by the next cell's batch normalisation, so a
    constraint can be met without changing the architecture; what selects is what differs.
    Zero, which takes no part in a network of raw weights, is left out of movements.

    - `mu_alpha_common`, `mu_beta_common`: the mean change of mu;
    - `mu_alpha_edges`: the standard deviation over edges of an edge's mean change;
    - `mu_alpha_relative`: the root mean square of an operation's change relative to its edge's mean change;
    - `mu_beta_relative`: likewise of an edge relative to its node;
    - `sigma_alpha`, `sigma_beta`: the means of sigma;
    - `entropy_alpha`, `entropy_beta`: in nats, of the medians normalised over an edge's 8 operations
      (ln 8 = 2.08 at the start) and a node's inputs, averaged;
    - `share_zero`, `share_skip`: of the normalised medians of alpha, averaged over edges.
    """
    alpha, beta = (mu.numpy().astype(np.float64) for mu in architecture.mu)
    start_alpha, start_beta = (np.asarray(mu, np.float64) for mu in architecture.initial_mu())
    moved_alpha = np.delete(alpha - start_alpha, _ZERO, -1)
    moved_beta = [(beta - start_beta)[:, edges] for edges in _NODE_EDGES]
    edge_means = moved_alpha.mean(-1, keepdims=True)
    shares = _softmax(alpha)
    (_, alpha_variance), (_, beta_variance) = architecture.parameters()
    within_nodes = np.concatenate([moved - moved.mean(-1, keepdims=True) for moved in moved_beta], -1)
    statistics = {
        "mu_alpha_common": moved_alpha.mean(),
        "mu_alpha_edges": edge_means.std(),
        "mu_alpha_relative": np.sqrt(np.square(moved_alpha - edge_means).mean()),
        "mu_beta_common": np.concatenate(moved_beta, -1).mean(),
        "mu_beta_relative": np.sqrt(np.square(within_nodes).mean()),
        "sigma_alpha": np.sqrt(alpha_variance).mean(),
        "sigma_beta": np.sqrt(beta_variance).mean(),
        "entropy_alpha": _entropy(shares).mean(),
        "entropy_beta": np.mean([_entropy(_softmax(beta[:, edges])) for edges in _NODE_EDGES]),
        "share_zero": shares[..., _ZERO].mean(),
        "share_skip": shares[..., _SKIP].mean(),
    }
    return {name: float(value) for name, value in statistics.items()}


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(shares)).sum(-1)
