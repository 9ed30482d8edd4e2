"""Names of classes, networks and files are shown letter by letter, whatever pages and sheets make of them."""

import csv
import io
import pathlib
from typing import Any

import matplotlib.text
import numpy as np
import pytest
import rich

from racl_tf.attacks import fgsm
from racl_tf.evaluation import Evaluation, Sweep, Transfer
from racl_tf.evaluation.attack_loop import NOT_FOUND
from racl_tf.evaluation.results import AttackOutcomes
from racl_tf.files import write_table
from racl_tf.reporting import plot_sweeps, plot_transfer, render_text
from racl_tf.reporting.paper_table import Measured, PaperTable
from racl_tf.reporting.paper_table_plot import plot_paper_table
from racl_tf.runs.evaluate import outcomes_by_file
from racl_tf.space import random_genotype
from racl_tf.tables import TextTable, markdown_table, markdown_text

NAMES = (
    "[/x]",
    "[red]a[/red]",
    ":cat:",
    "$\\frac$",
    "a$b",
    "a|b",
    "a\\|b",
    "<script>alert(1)</script>",
    "*a* _b_ `c`",
    "[a](javascript:b)",
    "&lt;",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-x",
    "@sum",
)


@pytest.mark.parametrize("name", [*NAMES, "\x1b[31mred", "a\rb", "\udcff"])
def test_a_table_shows_them_letter_by_letter(name: str) -> None:
    text = str(TextTable(name, (name, "%"), ((name, "1"),), left=(name,), caption=name))
    shown = name if name.isprintable() else name.encode("unicode_escape").decode()
    assert text.count(shown) == 4
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    text.encode()


@pytest.mark.parametrize("name", NAMES)
def test_a_genotype_shows_its_own(name: str) -> None:
    file = io.StringIO()
    rich.print(render_text(random_genotype(0, name=name)), file=file)
    assert name in file.getvalue()


def read_row(line: str) -> list[str]:
    """Returns the cells of a row as GitHub divides it: at bars without a backslash before them."""
    return [cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_holds_no_markup_of_theirs(name: str) -> None:
    transfer = Transfer({"clean": {name: 2}, name: {name: 1}}, 4, fgsm(0.1), 0)
    lines = transfer.markdown().splitlines()
    assert [len(read_row(line)) for line in lines] == [2, 2, 2, 2]
    place = (name, "FGSM")
    page = PaperTable(name, (name,), ("FGSM",), {place: Measured(50.0)}, {}).markdown()
    for text in (transfer.markdown(), page.replace(PaperTable("", (), ("x",), {}, {}).markdown().splitlines()[2], "")):
        for markup in ("<script", "](", "$", "`", "[red]", "*a*", "&lt;", " _b"):
            assert markup not in text
    assert page.splitlines()[0] == f"## {markdown_text(name)}"


def test_what_marks_nothing_is_left_as_it_is() -> None:
    for name in ("PC-DARTS", "pgd_20, eps 8/255", "a & b", "source \\ target", "ä (M): 5%"):
        assert markdown_text(name) == name
    assert markdown_text("a\nb") == "a b"
    assert markdown_table(["a"], [["x\n| y"]]).splitlines()[-1] == "| x \\| y |"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_pictures_show_them_letter_by_letter(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[matplotlib.text.Text] = []
    draw = matplotlib.text.Text.draw

    def note(text: matplotlib.text.Text, renderer: Any) -> None:
        drawn.append(text)
        draw(text, renderer)

    monkeypatch.setattr(matplotlib.text.Text, "draw", note)
    path = tmp_path / "picture.png"
    sweep = Sweep("eps", (0.1, 0.2), (2, 1), clean=3, images=4, attacks=(), seed=0)
    place = (name, "FGSM")
    for plot in (
        lambda: plot_sweeps({name: sweep}, path, title=name),
        lambda: plot_transfer(Transfer({"clean": {name: 2}, name: {name: 1}}, 4, fgsm(0.1), 0), path),
        lambda: plot_paper_table(PaperTable(name, (name,), ("FGSM",), {place: Measured(50.0)}, {place: 2.0}), path),
    ):
        drawn.clear()
        plot()
        named = [text for text in drawn if text.get_text() == name]
        assert len(named) >= 2
        assert not any(text.get_parse_math() for text in named)


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_of_a_sheet_is_a_formula(name: str, tmp_path: pathlib.Path) -> None:
    outcomes = {"fgsm": AttackOutcomes(np.array([0, 1], np.int32), np.array([1, NOT_FOUND], np.int32))}
    evaluation = Evaluation(np.array([0, 1]), np.array([0, 1]), 2, outcomes, {"fgsm": (fgsm(0.1),)}, 0)
    write_table(tmp_path / "images.csv", outcomes_by_file(evaluation, (name, "-1.5"), (name, "b")))
    Transfer({"clean": {name: 2}, name: {name: 1}}, 4, fgsm(0.1), 0).save(tmp_path / "transfer.csv")
    for path in ("images.csv", "transfer.csv"):
        with open(tmp_path / path, newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not any(cell.startswith(("=", "+", "@", "-x")) for cell in cells)
        assert any(cell.lstrip("'") == name for cell in cells)
    assert "\n-1.5,b,b,robust\n" in (tmp_path / "images.csv").read_text()
