"""What is drawn of a sweep: the curves, their bands and their names."""

import matplotlib.figure
import numpy as np
import pytest

from racl_tf.errors import UsageError
from racl_tf.evaluation import Sweep
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


def test_curves_lie_in_the_bands_of_their_intervals(tmp_path, drawn):
    plot_sweeps({"RACL": EPS, "DARTS": OTHER}, tmp_path / "eps.png")
    assert (tmp_path / "eps.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = drawn[0].axes
    for line, band, sweep in zip(axes.lines, axes.collections, (EPS, OTHER), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.transpose([sweep.values, sweep.accuracies]))
        box = band.get_datalim(axes.transData)
        np.testing.assert_allclose([box.y0, box.y1], [sweep.intervals[-1][0], sweep.intervals[0][1]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["RACL", "DARTS"]
    assert axes.get_xticks().tolist() == [0.01, 0.02, 0.03, 0.04]
    assert axes.get_ylim()[0] == 0


def test_steps_are_drawn_on_a_logarithmic_axis(tmp_path, drawn):
    plot_sweeps({"RACL": STEPS}, tmp_path / "steps.png")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10", "100"]


@pytest.mark.parametrize("sweeps", [{}, {"a": EPS, "b": STEPS}])
def test_curves_must_be_over_the_same(sweeps, tmp_path):
    with pytest.raises(UsageError, match=r"Received: (none|eps, steps)\."):
        plot_sweeps(sweeps, tmp_path / "none.png")
