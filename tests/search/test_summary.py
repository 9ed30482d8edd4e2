"""What a search ends with: sentences that say whether anything was chosen."""

import json
import pathlib

import pytest

from racl_tf.lipschitz import GainComparison
from racl_tf.search.summary import SearchSummary
from racl_tf.space.operations import MOST_ENTROPY

STATISTICS = {
    "mu_alpha_relative": 0.25,
    "mu_alpha_common": -0.1,
    "mu_beta_relative": 0.5,
    "mu_beta_common": 0.0,
    "reduction": 4.0,
    "reduction_by_choice": -1.5,
    "reachable": 20.0,
    "log_norm_selected": 0.5,
    "log_norm_rejected": 1.5,
    "draws_agree": 0.75,
}
GAINS = GainComparison(0.64, 0.59, {"skip_connect": 1.0}, {"skip_connect": 1.0}, 12)


def summary(entropy: float, constraint: float | None = 0.01, steps: int = 300) -> SearchSummary:
    gains = None if constraint is None else GAINS
    return SearchSummary({**STATISTICS, "entropy_alpha": entropy}, steps, constraint, 0.875, 5, gains)


def test_a_search_that_chose() -> None:
    text = str(summary(1.9))
    assert "operations' mu moved by 0.250 (in common by -0.100)" in text
    assert "c = 0.010, wanted at most 0" in text
    assert "4.00 nats below the start architecture's, 1.50 nats above by choice alone" in text
    assert "88% of the choices were made 5 epochs before the end already; a draw makes 75% of them" in text
    assert "rank correlation +0.64 (within an edge +0.59)" in text
    assert "chose next to nothing" not in text


@pytest.mark.parametrize(("lost", "chose"), [(0.0049, False), (0.0051, True)])
def test_entropy_tells_a_choice(lost: float, chose: bool) -> None:
    found = summary(MOST_ENTROPY - lost)
    assert found.chose == chose
    assert ("This search chose next to nothing" in str(found)) != chose


@pytest.mark.parametrize(
    ("constraint", "steps", "said"),
    [
        (-0.3, 315, []),
        (0.7, 315, ["The constraint is not met: c is 0.7"]),
        (None, 315, []),
        (0.7, 9, ["Only 9 steps moved", "The constraint is not met"]),
    ],
)
def test_a_search_says_what_speaks_against_it(constraint: float | None, steps: int, said: list[str]) -> None:
    found = summary(1.9, constraint, steps)
    assert len(found.doubts) == len(said)
    for line, expected in zip(found.doubts, said, strict=True):
        assert line.startswith(expected)
        assert line in str(found).splitlines()


def test_without_a_constraint_and_as_a_file(tmp_path: pathlib.Path) -> None:
    found = summary(1.9, None)
    assert "constraint" not in str(found)
    assert "gains" not in str(found)
    found.save(tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "statistics": dict(found.statistics),
        "steps": 300,
        "constraint": None,
        "chose": True,
        "doubts": [],
        "kept": {"share": 0.875, "epochs": 5},
        "norms_and_gains": None,
    }
