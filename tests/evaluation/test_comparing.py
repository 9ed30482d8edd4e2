"""Intervals of paired differences against the two-way bootstrap's variance in closed form, and against the truth."""

import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.evaluation.comparing import paired_bootstrap

Z = 1.959964


def variance_of_means(rows: np.ndarray) -> float:
    """Returns the variance of means over rows and columns that are both drawn with replacement.

    Of X_ij = m + a_i + b_j + e_ij with all sums over a, b and each line of e zero, it is the mean of a^2 over k, that
    of b^2 over n and that of e^2 over k n.
    """
    seeds, images = rows.mean(1, keepdims=True), rows.mean(0, keepdims=True)
    rest = rows - seeds - images + rows.mean()
    return float(seeds.var() / len(rows) + images.var() / rows.shape[1] + np.mean(rest**2) / rows.size)


def width(difference) -> float:
    return difference.high - difference.low


@pytest.mark.parametrize(("seeds", "images", "rest"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2, 1, 2)])
def test_its_spread_is_that_of_the_two_way_bootstrap(seeds: float, images: float, rest: float) -> None:
    rng = np.random.default_rng(1)
    rows = seeds * rng.normal(size=[30, 1]) + images * rng.normal(size=[1, 60]) + rest * rng.normal(size=[30, 60])
    found = paired_bootstrap(rows, np.zeros_like(rows))
    assert found.mean == pytest.approx(rows.mean())
    assert width(found) / (2 * Z) == pytest.approx(np.sqrt(variance_of_means(rows)), rel=0.03)


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    """Systems that are equally good, over 200 sets of 20 seeds and 40 images that differ in all ways."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        seeds, images = 0.3 * rng.normal(size=[2, 20, 1]), 0.3 * rng.normal(size=[2, 1, 40])
        one, other = seeds + images + rng.normal(size=[2, 20, 40])
        low, high = paired_bootstrap(one, other, resamples=400)[1:]
        covered += low <= 0 <= high
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize("count", [2, 5, 20])
def test_few_seeds_make_it_too_narrow_by_the_factor_that_is_said(count: int) -> None:
    """Where only seeds differ, its variance is the biased one over the number of seeds."""
    rows = np.random.default_rng(2).normal(size=[count, 1])
    assert np.sqrt(variance_of_means(rows)) == pytest.approx(
        np.sqrt((count - 1) / count) * rows.std(ddof=1) / np.sqrt(count)
    )


def test_exact_cases() -> None:
    assert paired_bootstrap([[1, 0, 1]], [[1, 0, 1]]) == (0, 0, 0)
    assert paired_bootstrap(np.ones([3, 4]), np.zeros([3, 4])) == (1, 1, 1)
    # Two seeds of one image: the mean is 0, 1/2 or 1 in one of four, two of four and one of four cases.
    assert paired_bootstrap([[0], [1]], [[0], [0]]) == (0.5, 0, 1)


def test_swapped_systems_have_the_opposite_interval() -> None:
    one, other = np.random.default_rng(3).random([2, 5, 30]) < 0.6
    forth, back = paired_bootstrap(one, other), paired_bootstrap(other, one)
    np.testing.assert_allclose(forth, [-back.mean, -back.high, -back.low], atol=1e-12)
    assert paired_bootstrap(one, other, seed=1).mean == forth.mean
    assert paired_bootstrap(one, other, seed=1) != forth


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
