"""What is drawn of a comparison: a panel for each column, figures in their rows, names inside the picture."""

from itertools import combinations

import matplotlib.figure
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from racl_tf.errors import UsageError
from racl_tf.reporting.paper_table import Measured, PaperTable
from racl_tf.reporting.paper_table_plot import plot_paper_table
from racl_tf.reproduction.paper import TABLE_1

ROWS = ("ResNet-18", "a $row_ with a name that is longer than any in the paper", "RACL")
COLUMNS = ("Params (M)", "AT: Clean", "AT: FGSM", "Clean")
OURS = {
    ("ResNet-18", "AT: Clean"): Measured(78.0, 75.5, 80.5),
    ("RACL", "AT: Clean"): Measured(82.0),
    ("RACL", "AT: FGSM"): Measured(0.0, 0.0, 0.4),
    ("RACL", "Params (M)"): Measured(3.6),
}
PAPER = {("RACL", "AT: Clean"): 83.89, ("ResNet-18", "Clean"): 89.94}


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be saved."""
    saved = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, *_, **__: saved.append(self))
    return saved


def marks(axes) -> dict[str, list[list[float]]]:
    """Returns what a panel shows: dots and rings as [value, row], bars as [low, high, row]."""
    shown: dict[str, list[list[float]]] = {"dots": [], "rings": [], "bars": []}
    for line in axes.lines:
        kind = "bars" if line.get_marker() == "None" else "rings" if line.get_fillstyle() == "none" else "dots"
        shown[kind].append([*line.get_xdata(), line.get_ydata()[0]])
    return shown


def test_figures_are_where_they_belong(figures, tmp_path) -> None:
    plot_paper_table(PaperTable("Table 1", ROWS, COLUMNS, OURS, PAPER), tmp_path / "table.png")
    panels = {axes.get_title(): axes for axes in figures[0].axes}
    assert list(panels) == ["AT: Clean", "AT: FGSM", "Clean"]
    assert marks(panels["AT: Clean"]) == {
        "dots": [[78.0, 0], [82.0, 2]],
        "rings": [[83.89, 2]],
        "bars": [[75.5, 80.5, 0]],
    }
    assert marks(panels["AT: FGSM"]) == {"dots": [[0.0, 2]], "rings": [], "bars": [[0.0, 0.4, 2]]}
    assert marks(panels["Clean"]) == {"dots": [], "rings": [[89.94, 0]], "bars": []}
    assert [label.get_text() for label in panels["AT: Clean"].get_yticklabels()] == list(ROWS)
    for axes in panels.values():
        bottom, top = axes.get_ylim()
        assert top < 0 < 2 < bottom


@pytest.mark.parametrize("columns", [("a",), ("a", "b", "AT: c"), tuple("abcdefg")])
def test_no_text_reaches_over_the_edge_or_over_another(columns, figures, tmp_path) -> None:
    title = "Table 1: a title of several lines, where the picture of few columns is not as wide as the title is long"
    measured = {(ROWS[0], column): Measured(value) for column in columns for value in (0.0, 50.0, 100.0)}
    plot_paper_table(PaperTable(title, ROWS, columns, measured, {}), tmp_path / "table.png")
    (figure,) = figures
    figure.draw_without_rendering()
    boxes = {text: text.get_window_extent() for text in figure.findobj(Text) if text.get_text() and text.get_visible()}
    assert len(boxes) > len(columns) + len(ROWS)
    for box in boxes.values():
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for (one, box), (other, other_box) in combinations(boxes.items(), 2):
        assert not box.overlaps(other_box), (one.get_text(), other.get_text())


def test_a_table_of_the_paper_becomes_a_picture(tmp_path) -> None:
    rows, columns = (tuple(dict.fromkeys(names)) for names in zip(*TABLE_1, strict=True))
    plot_paper_table(PaperTable("Table 1", rows, columns, {}, TABLE_1), tmp_path / "table.png")
    image = imread(tmp_path / "table.png")[..., :3]
    height, width, _ = image.shape
    assert 1000 < width < 2000
    assert 500 < height < 2000
    border = [image[:3], image[-3:], image[:, :3], image[:, -3:]]
    assert all((side == 1.0).all() for side in border)


def test_columns_in_other_units_alone_cannot_be_drawn(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"percent.*Received: Params \(M\)\."):
        plot_paper_table(PaperTable("Sizes", ("RACL",), ("Params (M)",), {}, {}), tmp_path / "table.png")
