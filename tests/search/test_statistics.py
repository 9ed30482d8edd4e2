"""What a search did, in numbers: shifts made by hand come out as what they are."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.lipschitz import LogNormal, least_relative_mean, network_constant
from racl_tf.networks.supernet import Supernet
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.search.statistics import architecture_statistics, choices_kept, constraint_statistics
from racl_tf.space import OPERATIONS, ZERO, Cell, Genotype

MOVES = ["mu_alpha_common", "mu_alpha_edges", "mu_alpha_relative", "mu_beta_common", "mu_beta_relative"]


@pytest.fixture
def architecture() -> LogNormalArchitecture:
    return LogNormalArchitecture(sigma=0.2)


def moves(architecture: LogNormalArchitecture) -> list[float]:
    statistics = architecture_statistics(architecture)
    return [statistics[name] for name in MOVES]


def test_at_the_start(architecture: LogNormalArchitecture) -> None:
    statistics = architecture_statistics(architecture)
    np.testing.assert_allclose(moves(architecture), 0, atol=1e-6)
    assert statistics["entropy_alpha"] == pytest.approx(np.log(7))
    assert statistics["entropy_beta"] == pytest.approx(np.log([2, 3, 4, 5]).mean())
    assert (statistics["share_zero"], statistics["share_skip"]) == pytest.approx((0, 1 / 7))
    assert statistics["sigma_alpha"] == pytest.approx(0.2, rel=1e-5)
    assert statistics["sigma_beta"] == pytest.approx(0.2, rel=1e-5)


def test_a_common_shrink_is_common(architecture: LogNormalArchitecture) -> None:
    """Of all operations but zero, which takes no part and stays: that is no choice."""
    shrink = np.full((2, 14, 8), -0.3)
    shrink[..., ZERO] = 0
    architecture.mu_alpha.assign_add(shrink)
    architecture.mu_beta.assign_add(np.full((2, 14), -0.2))
    np.testing.assert_allclose(moves(architecture), [-0.3, 0, 0, -0.2, 0], atol=1e-6)
    assert architecture_statistics(architecture)["entropy_alpha"] == pytest.approx(np.log(7))


def test_shifts_of_edges_and_nodes_are_not_relative(architecture: LogNormalArchitecture) -> None:
    """Every second edge up, the others down, by 0.4; a node's beta moves as one."""
    sign = np.where(np.arange(14) % 2, 1, -1)
    architecture.mu_alpha.assign_add(np.broadcast_to(0.4 * sign[:, None], (2, 14, 8)))
    architecture.mu_beta.assign_add(np.broadcast_to(np.where(np.arange(14) < 5, 0.5, 0), (2, 14)))
    np.testing.assert_allclose(moves(architecture), [0, 0.4, 0, 0.5 * 5 / 14, 0], atol=1e-6)


def test_a_choice_is_relative(architecture: LogNormalArchitecture) -> None:
    """On every edge skip rises by 1 while zero, which is left out, rises by 2; node 2's edges part by 0.6."""
    alpha, beta = np.zeros((2, 14, 8)), np.zeros((2, 14))
    alpha[..., OPERATIONS.index("skip_connect")] = 1
    alpha[..., ZERO] = 2
    beta[:, :2] = [0.3, -0.3]
    architecture.mu_alpha.assign_add(alpha)
    architecture.mu_beta.assign_add(beta)
    relative = np.sqrt(((6 / 7) ** 2 + 6 * (1 / 7) ** 2) / 7)
    np.testing.assert_allclose(moves(architecture), [1 / 7, 0, relative, 0, np.sqrt(2 * 0.09 / 14)], atol=1e-6)

    statistics = architecture_statistics(architecture)
    weights = np.exp([1, 0, 0, 0, 0, 0, 0])
    shares = weights / weights.sum()
    assert statistics["share_zero"] == 0
    assert statistics["share_skip"] == pytest.approx(shares[0])
    assert statistics["entropy_alpha"] == pytest.approx(-(shares * np.log(shares)).sum())
    pair = np.exp([0.3, -0.3]) / np.exp([0.3, -0.3]).sum()
    entropies = [-(pair * np.log(pair)).sum(), *np.log([3, 4, 5])]
    assert statistics["entropy_beta"] == pytest.approx(np.mean(entropies))


def test_zero_has_a_share_where_weights_are_divided_by_their_sum() -> None:
    architecture = LogNormalArchitecture(normalize="sum")
    alpha = np.zeros((2, 14, 8))
    alpha[..., ZERO] = 1
    architecture.mu_alpha.assign_add(alpha)
    statistics = architecture_statistics(architecture)
    assert statistics["share_zero"] == pytest.approx(np.e / (np.e + 7))
    assert statistics["share_skip"] == pytest.approx(1 / 7)


@pytest.fixture(scope="module")
def search() -> RACLSearch:
    supernet = Supernet(10, channels=4, cells=3, input_shape=(8, 8, 1))
    return RACLSearch(supernet, LogNormalArchitecture(sigma=0.01))


def restart(search: RACLSearch) -> None:
    for variable, start in zip(search.architecture.mu, search.architecture.initial_mu(), strict=True):
        variable.assign(start)


def test_a_common_shrink_lowers_the_constant_without_a_choice(search: RACLSearch) -> None:
    """ln of 12 node sums, each lower by 0.3 + 0.2."""
    restart(search)
    search.architecture.mu_alpha.assign_add(np.full((2, 14, 8), -0.3))
    search.architecture.mu_beta.assign_add(np.full((2, 14), -0.2))
    statistics = constraint_statistics(search)
    assert statistics["reduction"] == pytest.approx(3 * 4 * 0.5, rel=1e-4)
    assert statistics["reduction_by_choice"] == pytest.approx(0, abs=1e-4)
    assert statistics["draws_agree"] < 1  # all operations are equal, so that a draw selects at random


def test_choosing_the_lightest_operations_reaches_what_is_reachable(search: RACLSearch) -> None:
    """All weight of every node on the operation whose ln lambda, summed over the cells of its type, is the least."""
    restart(search)
    norms = search.norms.measure(keep=False).numpy()
    alpha, beta = np.zeros((2, 14, 8)), np.zeros((2, 14))
    least = 0.0
    for kind in (0, 1):
        total = norms[search.cell_types.numpy() == kind].sum(0)
        total[:, ZERO] = np.inf
        for edges in (slice(0, 2), slice(2, 5), slice(5, 9), slice(9, 14)):
            edge, operation = np.unravel_index(total[edges].argmin(), total[edges].shape)
            alpha[kind, edges.start + edge, operation] = beta[kind, edges.start + edge] = 40
            least += total[edges.start + edge, operation]
    before = search.network_constant(norms).mean
    search.architecture.mu_alpha.assign_add(alpha)
    search.architecture.mu_beta.assign_add(beta)
    statistics = constraint_statistics(search)
    assert statistics["reduction_by_choice"] == pytest.approx(statistics["reachable"], abs=1e-3)
    assert statistics["reduction"] == pytest.approx(float(before - search.network_constant(norms).mean), abs=1e-3)
    assert float(least_relative_mean(norms, search.cell_types)) == pytest.approx(least, abs=1e-4)
    assert statistics["log_norm_selected"] < statistics["log_norm_rejected"]
    assert statistics["draws_agree"] > 0.4, "of a node's two choices at least the one that was made"


def test_no_mixture_is_below_the_least(search: RACLSearch) -> None:
    """A property of the concave sum of logarithms, at random weights."""
    restart(search)
    norms = search.norms.measure(keep=False)
    least = float(least_relative_mean(norms, search.cell_types))
    random = np.random.default_rng(0)
    for spread in (0.5, 3.0, 10.0):
        weights = [spread * random.standard_normal(shape, np.float32) for shape in ((2, 14, 8), (2, 14))]
        alpha, beta = (LogNormal(tf.constant(mu), tf.zeros(mu.shape)) for mu in weights)
        mean = network_constant(alpha, beta, norms, search.cell_types, scale_free=True).mean
        assert float(mean) >= least


def test_choices_kept() -> None:
    """Of 16 choices: one operation changed, and one edge taken for another."""

    def cell(first: str, last: int) -> Cell:
        skip = "skip_connect"
        nodes = [[(first, 0), (skip, 1)], [(skip, 0), (skip, 1)], [(skip, 0), (skip, 1)], [(skip, last), (skip, 1)]]
        return Cell(nodes, [2, 3, 4, 5])

    before, after = cell("skip_connect", 0), cell("dil_conv_3x3", 3)
    assert choices_kept(Genotype(before, before), Genotype(after, before)) == 14 / 16


@pytest.mark.parametrize("way", ["reduction", "target"])
def test_a_target_that_no_choice_reaches(search: RACLSearch, way: str) -> None:
    """Just above what the lightest operations give is taken, just below is refused, with what they give."""
    restart(search)
    norms = search.norms.measure(keep=False)
    value = {
        "reduction": float(search.reachable(norms)),
        "target": float(least_relative_mean(norms, search.cell_types)),
    }[way]
    beyond = 0.01 if way == "reduction" else -0.01

    def constraint(value: float, *, scale_free: bool = True) -> ConfidenceConstraint:
        options: dict[str, Any] = {way: value, "scale_free": scale_free}
        return ConfidenceConstraint(**options)

    beyond_choice = constraint(value + 1000 * beyond, scale_free=False)  # a common shrink reaches anything
    for taken in (constraint(value - beyond), beyond_choice, None):
        search.constraint = taken
        search.check_target()
    search.constraint = constraint(value + beyond)
    with pytest.raises(UsageError, match=rf"No choice of operations and edges reaches .* is {value:.2f}"):
        search.check_target()
    search.constraint = None
