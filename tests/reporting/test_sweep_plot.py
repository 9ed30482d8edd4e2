"""What is drawn of a sweep: the curves, their intervals and their names."""

import matplotlib.figure
import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.evaluation import Sweep
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.reporting import plot_sweeps

EPS = Sweep("eps", (0.01, 0.02, 0.04), (80, 60, 10), clean=90, images=100, attacks=(), seed=0)
OTHER = Sweep("eps", (0.02, 0.03), (70, 50), clean=90, images=100, attacks=(), seed=0)
STEPS = Sweep("steps", (1, 10, 100), (80, 60, 55), clean=90, images=100, attacks=(), seed=0)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def keep(self, *args, **kwargs):
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return figures


def test_curves_have_their_intervals_and_stand_side_by_side(tmp_path, drawn) -> None:
    plot_sweeps({"RACL": EPS, "DARTS": OTHER}, tmp_path / "eps.png")
    assert (tmp_path / "eps.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    (axes,) = figure.axes
    places = []
    for (line, _, (bars,)), sweep in zip(axes.containers, (EPS, OTHER), strict=True):
        clean = sweep.clean / sweep.images
        points = np.transpose([(0, *sweep.values), (clean, *sweep.accuracies)])
        np.testing.assert_array_equal(line.get_xydata(), points)
        intervals = [wilson_interval(sweep.clean, sweep.images), *sweep.intervals]
        np.testing.assert_allclose([bar[:, 1] for bar in bars.get_segments()], intervals)
        here, there = (transform.transform([0, 0]) for transform in (axes.transData, line.get_transform()))
        places.append((there - here) / figure.dpi * 72)
    np.testing.assert_allclose(places, [[-1.25, 0], [1.25, 0]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["RACL", "DARTS"]
    assert axes.get_xticks().tolist() == [0, 0.01, 0.02, 0.03, 0.04]
    low, high = axes.get_xlim()
    assert low < 0
    assert high > 0.04
    assert axes.get_ylim()[0] == 0


def test_steps_are_drawn_on_a_logarithmic_axis(tmp_path, drawn) -> None:
    plot_sweeps({"RACL": STEPS}, tmp_path / "steps.png")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10", "100"]


@pytest.mark.parametrize("sweeps", [{}, {"a": EPS, "b": STEPS}])
def test_curves_must_be_over_the_same(sweeps, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"Received: (none|eps, steps)\."):
        plot_sweeps(sweeps, tmp_path / "none.png")
