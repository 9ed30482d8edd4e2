"""What a search did to the architecture, in numbers that tell a common shrink from a choice."""

import numpy as np

from racl_tf.lipschitz.surrogate import network_constant
from racl_tf.search.architecture import Architecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.search.sampling import draw_genotypes
from racl_tf.search.sampling_result import operations_of
from racl_tf.space import CANDIDATES, INPUTS, NODES, OPERATIONS, ZERO, Genotype, edges_into

_SKIP = CANDIDATES.index("skip_connect")
_DRAWS = 32  # genotypes drawn to see how far draws agree
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
    - `entropy_alpha`, `entropy_beta`: in nats, of the medians normalised over an edge's 7 operations but zero
      (ln 7 = 1.946 at the start) and a node's inputs, averaged;
    - `share_skip`: of skip among these 7, averaged over edges;
    - `share_zero`: of zero among all 8 if weights are normalised by their sum, where it takes part; 0 if they are raw.
    """
    alpha, beta = (mu.numpy().astype(np.float64) for mu in architecture.mu)
    start_alpha, start_beta = (np.asarray(mu, np.float64) for mu in architecture.initial_mu())
    moved_alpha = np.delete(alpha - start_alpha, ZERO, -1)
    moved_beta = [(beta - start_beta)[:, edges] for edges in _NODE_EDGES]
    edge_means = moved_alpha.mean(-1, keepdims=True)
    shares = _softmax(np.delete(alpha, ZERO, -1))
    normalized = architecture.normalization == "sum"
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
        "share_zero": _softmax(alpha)[..., ZERO].mean() if normalized else 0.0,
        "share_skip": shares[..., _SKIP].mean(),
    }
    return {name: float(value) for name, value in statistics.items()}


def constraint_statistics(search: RACLSearch) -> dict[str, float]:
    """Returns what the architecture has done to the network's constant since the start, at the current weights.

    - `reduction`: the nats by which it lowered mu_F, whatever the constraint measures;
    - `reduction_by_choice`: the nats by which it lowered mu_F measured scale-free, where only a shift of weight
      between operations and edges counts;
    - `reachable`: the nats by which choice alone could lower that at most (`RACLSearch.reachable`);
    - `log_norm_selected`, `log_norm_rejected`: the mean ln(lambda_o) over cells of the operations on edges that the
      medians select, and of all others but zero;
    - `draws_agree`: the share of the medians' 16 choices, an operation on an edge each, that a draw makes too,
      averaged over 32 draws.
    """
    log_norms = search.norms.measure(keep=False)
    start, now = search.architecture.initial_parameters(), search.architecture.parameters()

    def reduction(*, scale_free: bool) -> float:
        before, after = (
            network_constant(*parameters, log_norms, search.cell_types, scale_free=scale_free).mean
            for parameters in (start, now)
        )
        return float(before - after)

    genotype, candidates = search.genotype(), np.arange(len(OPERATIONS)) != ZERO
    selected = np.eye(len(OPERATIONS), dtype=bool)[operations_of(genotype)][search.cell_types.numpy()]
    norms = log_norms.numpy().astype(np.float64)
    draws = draw_genotypes(search.architecture, _DRAWS)
    return {
        "reduction": reduction(scale_free=False),
        "reduction_by_choice": reduction(scale_free=True),
        "reachable": float(search.reachable(log_norms)),
        "log_norm_selected": float(norms[selected & candidates].mean()),
        "log_norm_rejected": float(norms[~selected & candidates].mean()),
        "draws_agree": float(np.mean([choices_kept(genotype, draw) for draw in draws])),
    }


def choices_kept(before: Genotype, after: Genotype) -> float:
    """Returns the share of a genotype's choices, an operation on an edge of a cell each, that another makes too.

    >>> from racl_tf.space import random_genotype
    >>> choices_kept(random_genotype(0), random_genotype(0))
    1.0
    """
    first, second = operations_of(before), operations_of(after)
    kept = first != ZERO
    return float(np.mean(first[kept] == second[kept]))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(shares)).sum(-1)
