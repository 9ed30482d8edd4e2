"""What a search did, in numbers: shifts made by hand come out as what they are."""

import numpy as np
import pytest

from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.statistics import architecture_statistics
from racl_tf.space import OPERATIONS

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
    assert statistics["entropy_alpha"] == pytest.approx(np.log(8))
    assert statistics["entropy_beta"] == pytest.approx(np.log([2, 3, 4, 5]).mean())
    assert statistics["share_zero"] == statistics["share_skip"] == pytest.approx(1 / 8)
    assert statistics["sigma_alpha"] == pytest.approx(0.2, rel=1e-5)
    assert statistics["sigma_beta"] == pytest.approx(0.2, rel=1e-5)


def test_a_common_shrink_is_common(architecture: LogNormalArchitecture) -> None:
    architecture.mu_alpha.assign_add(np.full((2, 14, 8), -0.3))
    architecture.mu_beta.assign_add(np.full((2, 14), -0.2))
    np.testing.assert_allclose(moves(architecture), [-0.3, 0, 0, -0.2, 0], atol=1e-6)
    assert architecture_statistics(architecture)["entropy_alpha"] == pytest.approx(np.log(8))


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
    alpha[..., OPERATIONS.index("none")] = 2
    beta[:, :2] = [0.3, -0.3]
    architecture.mu_alpha.assign_add(alpha)
    architecture.mu_beta.assign_add(beta)
    relative = np.sqrt(((6 / 7) ** 2 + 6 * (1 / 7) ** 2) / 7)
    np.testing.assert_allclose(moves(architecture), [1 / 7, 0, relative, 0, np.sqrt(2 * 0.09 / 14)], atol=1e-6)

    statistics = architecture_statistics(architecture)
    weights = np.exp([2, 1, 0, 0, 0, 0, 0, 0])
    shares = weights / weights.sum()
    assert statistics["share_zero"] == pytest.approx(shares[0])
    assert statistics["share_skip"] == pytest.approx(shares[1])
    assert statistics["entropy_alpha"] == pytest.approx(-(shares * np.log(shares)).sum())
    pair = np.exp([0.3, -0.3]) / np.exp([0.3, -0.3]).sum()
    entropies = [-(pair * np.log(pair)).sum(), *np.log([3, 4, 5])]
    assert statistics["entropy_beta"] == pytest.approx(np.mean(entropies))
