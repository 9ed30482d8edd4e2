"""Charts show the values that they are given, at their places."""

import re

import numpy as np
import pytest

from racl_tf.reporting.charts import Line, bar_chart, density_chart, heat_map, interval_chart, line_chart, ticks


def points(body: str, kind: str = "line") -> np.ndarray:
    """The corners of the first path of a kind."""
    (path, *_) = re.findall(rf'class="{kind}[^"]*"[^>]* d="([^"]+)"', body)
    return np.array(
        [[float(number) for number in corner.split()] for corner in re.findall(r"[ML]([\d.]+ [\d.]+)", path)]
    )


def test_a_line_is_linear_in_its_values() -> None:
    x, y = np.array([0.0, 1.0, 4.0]), np.array([1.0, 3.0, 2.0])
    figure = line_chart("loss", [Line("a", x, y)], x_label="epoch")
    assert figure is not None
    found = points(figure.body)
    np.testing.assert_allclose((found[1, 0] - found[0, 0]) / (found[2, 0] - found[0, 0]), 0.25, atol=0.01)
    np.testing.assert_allclose((found[2, 1] - found[0, 1]) / (found[1, 1] - found[0, 1]), 0.5, atol=0.01)
    assert found[1, 1] < found[0, 1]  # up is smaller


def test_a_line_of_many_points_keeps_its_extremes() -> None:
    x = np.arange(20_000.0)
    y = np.sin(x)
    y[777], y[15_000:15_100] = 5.0, np.nan
    figure = line_chart("c", [Line("c", x, y)], x_label="step")
    plain = line_chart("c", [Line("c", x[:500], np.linspace(np.nanmin(y), 5, 500))], x_label="step")
    assert figure is not None
    assert plain is not None
    assert len(points(figure.body)) <= 600
    assert points(figure.body)[:, 1].min() == pytest.approx(points(plain.body)[:, 1].min(), abs=0.2)
    assert line_chart("none", [Line("c", x, np.full_like(x, np.nan))], x_label="step") is None


def test_a_density_has_its_mode_where_the_log_normal_has() -> None:
    """At exp(mu - sigma^2), in units of the target at 1."""
    mean, deviation = 0.1, 0.3
    figure = density_chart("F", [("end", mean, deviation)], note="")
    found = points(figure.body)
    low, high = np.exp(mean - 4 * deviation), np.exp(mean + 4 * deviation)
    share = (found[found[:, 1].argmin(), 0] - found[0, 0]) / (found[-1, 0] - found[0, 0])
    assert low + share * (high - low) == pytest.approx(np.exp(mean - deviation**2), rel=0.02)
    (target,) = re.findall(r'class="target" d="M([\d.]+)', figure.body)
    share = (float(target) - found[0, 0]) / (found[-1, 0] - found[0, 0])
    assert low + share * (high - low) == pytest.approx(1, rel=0.02)


def test_bars_are_as_long_as_shares() -> None:
    figure = interval_chart("accuracy", [("clean", 0.5, 0.4, 0.6), ("worst", 0.25, 0.1, 0.3)])
    widths = [float(width) for width in re.findall(r'var\(--c0\)"[^>]* width="([\d.]+)"', figure.body)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    heights = re.findall(r'height="([\d.]+)"><title>', bar_chart("by class", ["a", "b"], [("clean", [1.0, 0.25])]).body)
    assert float(heights[0]) == pytest.approx(4 * float(heights[1]), abs=0.3)


def test_a_heat_map_is_warm_above_zero_and_the_stronger_the_farther() -> None:
    figure = heat_map("mu", np.array([[2.0, -1.0], [0.5, np.nan]]), ["<a>", "b"], ["x", "y"], marked=[(0, 1)])
    found = re.findall(r'<rect class="(warm|cool)" fill-opacity="([\d.]+)"', figure.body)
    assert found == [("warm", "1.00"), ("cool", "0.50"), ("warm", "0.25")]
    assert figure.body.count('class="mark"') == 1
    assert "<a>" not in figure.body
    assert "&lt;a&gt;" in figure.body


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.7, 12.0), (1e-4, 2e-4), (37.0, 37.1), (0.0, 9999.0)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = np.array(ticks(low, high, 5))
    assert 2 <= len(found) <= 5
    assert low - 1e-9 <= found[0] < found[-1] <= high + 1e-9
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0])
    mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - round_number) for round_number in (1, 2, 5, 10)) < 1e-6
