"""The parts of a variance between and within cells, against closed forms and Monte Carlo."""

import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.reproduction.spread import components_table, variance_components


def test_parts_are_those_that_figures_are_drawn_with() -> None:
    """Means over 2,000 layouts of 6 cells with 3 trainings; the interval holds the true share in 95% of them."""
    random = np.random.default_rng(0)
    between, within, layouts = 0.06, 0.04, 2000
    share = between**2 / (between**2 + within**2)
    drawn = between * random.standard_normal((layouts, 6, 1)) + within * random.standard_normal((layouts, 6, 3))
    found = [variance_components(layout) for layout in drawn]
    assert np.mean([part.within**2 for part in found]) == pytest.approx(within**2, rel=0.03)
    assert np.mean([part.between**2 for part in found]) == pytest.approx(between**2, rel=0.06)
    assert np.mean([part.low <= share <= part.high for part in found]) == pytest.approx(0.95, abs=0.015)


def test_the_p_value_is_uniform_where_cells_are_alike() -> None:
    random = np.random.default_rng(1)
    p = [variance_components(random.standard_normal((5, 3))).p_value for _ in range(2000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_the_detectable_difference_is_found_with_that_power() -> None:
    """Student's t test of two ways of 8 seeds that differ by it is significant in 80%."""
    from scipy import stats

    random = np.random.default_rng(2)
    parts = variance_components(random.standard_normal((200, 20)) + 2 * random.standard_normal((200, 1)))
    deviation = np.hypot(parts.between, parts.within)
    first, second = deviation * random.standard_normal((2, 4000, 8))
    p = stats.ttest_ind(first + parts.detectable(8), second, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.03)


def test_extremes() -> None:
    alike = variance_components([[0.5, 0.7], [0.7, 0.5]])
    assert (alike.between, alike.share, alike.low, alike.p_value) == (0, 0, 0, 1)
    exact = variance_components([[0.5, 0.5], [0.7, 0.7]])
    assert (exact.within, exact.share, exact.low, exact.p_value) == (0, 1, 1, 0)
    for figures in ([[1.0], [2.0]], [[1.0, 2.0]], [1.0, 2.0]):
        with pytest.raises(UsageError, match="two cells of two trainings each"):
            variance_components(figures)


def test_the_table() -> None:
    table = components_table({"3 epochs": variance_components([[0.5, 0.52], [0.6, 0.62]])}, [8])
    assert table.splitlines()[2].startswith("| 3 epochs | 56.0 | 7.0 | 1.4 | 96% [")
