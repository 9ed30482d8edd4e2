"""Wilson's interval against published numbers; intervals of paired differences against drawing seeds and images.

Those are compared with Student's t and with the truth too.
"""

import numpy as np
import pytest
from scipy import stats

from racl_tf.errors import UsageError
from racl_tf.evaluation import detectable_difference, holm, paired_bootstrap, wilson_interval


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_intervals(successes, total, low, high) -> None:
    """Table I, method 3, of Newcombe (1998), Statistics in Medicine 17, 857-872."""
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(total - successes, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_nothing_observed_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def width(difference) -> float:
    return difference.high - difference.low


@pytest.mark.parametrize(("seeds", "images", "rest"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2, 1, 2)])
def test_its_spread_is_that_of_drawing_seeds_and_images(seeds: float, images: float, rest: float) -> None:
    rng = np.random.default_rng(1)
    rows = seeds * rng.normal(size=[6, 1]) + images * rng.normal(size=[1, 30]) + rest * rng.normal(size=[6, 30])
    drawn = [rows[rng.integers(6, size=6)][:, rng.integers(30, size=30)].mean() for _ in range(20_000)]
    found = paired_bootstrap(rows, np.zeros_like(rows))
    assert found.mean == pytest.approx(rows.mean())
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    scale = stats.t.ppf(0.975, 5) * np.sqrt(6 / 5)
    assert width(found) / 2 == pytest.approx(scale * np.std(drawn), rel=0.03)


@pytest.mark.parametrize("count", [2, 5, 20])
def test_where_only_seeds_differ_it_is_the_paired_t_interval(count: int) -> None:
    one, other = np.random.default_rng(2).normal(size=[2, count, 1])
    expected = stats.ttest_rel(one[:, 0], other[:, 0])
    interval = expected.confidence_interval(0.95)
    assert paired_bootstrap(one, other)[1:] == pytest.approx((*interval, expected.pvalue))


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_it_covers_the_truth_at_least_as_often_as_it_says(count: int) -> None:
    """Systems that are equally good, over 2,000 sets of few seeds and 40 images."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        seeds, images = 0.5 * rng.normal(size=[2, count, 1]), 0.3 * rng.normal(size=[2, 1, 40])
        one, other = seeds + images + rng.normal(size=[2, count, 40])
        _, low, high, p_value = paired_bootstrap(one, other)
        covered += low <= 0 <= high
        assert (p_value > 0.05) == (low < 0 < high)
    assert 0.935 <= covered / 2000 <= (0.99 if count >= 5 else 1.0)


def test_exact_cases() -> None:
    assert paired_bootstrap([[1, 0, 1]] * 2, [[1, 0, 1]] * 2) == (0, 0, 0, 1)
    assert paired_bootstrap(np.ones([3, 4]), np.zeros([3, 4])) == (1, 1, 1, 0)
    # Two seeds of one image, 0 and 1: the standard error is 1/2 and t with one degree of freedom 12.706.
    assert paired_bootstrap([[0], [1]], [[0], [0]]) == pytest.approx((0.5, 0.5 - 6.3531, 0.5 + 6.3531, 0.5), abs=1e-4)


def test_swapped_systems_have_the_opposite_interval() -> None:
    one, other = np.random.default_rng(3).random([2, 5, 30]) < 0.6
    forth, back = paired_bootstrap(one, other), paired_bootstrap(other, one)
    np.testing.assert_allclose(forth, [-back.mean, -back.high, -back.low, back.p_value], atol=1e-12)


def test_pairing_narrows_it_where_images_are_hard_for_both() -> None:
    """The same images in another order have the same accuracies, but the difference is far less certain."""
    rng = np.random.default_rng(4)
    ease = np.where(rng.random(200) < 0.6, 0.95, 0.05)
    one, other = rng.random([2, 5, 200]) < ease
    paired, shuffled = paired_bootstrap(one, other), paired_bootstrap(one, other[:, rng.permutation(200)])
    assert paired.mean == pytest.approx(shuffled.mean)
    assert width(paired) < 0.5 * width(shuffled)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 0], [1, 0]), ([[1, 0]], [[1, 0, 1]]), ([[1, 0]], [[1], [0]]), (np.zeros([0, 3]), np.zeros([0, 3]))],
)
def test_other_shapes_are_refused(first, second) -> None:
    with pytest.raises(UsageError, match=r"one shape \(seeds, images\)"):
        paired_bootstrap(first, second)


def test_one_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="two of them at least"):
        paired_bootstrap([[1, 0]], [[0, 0]])


def test_holm_corrects_a_worked_example() -> None:
    """Of 0.005, 0.01, 0.03 and 0.04: times 4, 3, 2 and 1, none below a smaller one's."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_makes_a_mistake_in_at_most_5_percent_of_families() -> None:
    """Four comparisons with one baseline, which depend on each other, where nothing differs."""
    rng = np.random.default_rng(5)
    mistakes = alone = 0
    for _ in range(1500):
        runs = rng.normal(size=[5, 6])
        p_values = [stats.ttest_rel(run, runs[0]).pvalue for run in runs[1:]]
        mistakes += min(holm(p_values)) <= 0.05
        alone += min(p_values) <= 0.05
    assert mistakes / 1500 < 0.06 < 0.09 < alone / 1500


@pytest.mark.parametrize(("level", "power"), [(0.05, 0.8), (0.01, 0.5)])
def test_a_detectable_difference_is_detected_as_often_as_it_says(level: float, power: float) -> None:
    rng, seeds, deviation = np.random.default_rng(6), 8, 3.0
    shift = detectable_difference(deviation, seeds, level=level, power=power)
    one, other = deviation * rng.normal(size=[2, 20_000, seeds])
    found = stats.ttest_ind(one + shift, other, axis=1).pvalue <= level
    assert found.mean() == pytest.approx(power, abs=0.03)
