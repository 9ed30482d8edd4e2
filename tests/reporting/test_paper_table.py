"""A table of ours beside the paper's: every figure is found in its cell, and nothing else."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.errors import UsageError
from racl_tf.evaluation import wilson_interval
from racl_tf.reporting.paper_table import Measured, PaperTable
from racl_tf.reproduction.paper import TABLE_1, TABLE_4


def percent(standing: int, images: int) -> Measured:
    return Measured(100 * standing / images, *(100 * end for end in wilson_interval(standing, images)))


def of_paper(table, measured=None) -> PaperTable:
    rows, columns = zip(*table, strict=True)
    return PaperTable("A", tuple(dict.fromkeys(rows)), tuple(dict.fromkeys(columns)), measured or {}, table)


def read(page: str) -> dict[tuple[str, str], str]:
    """Returns the cells of all tables of a page by row and column, without the empty ones."""
    cells: dict[tuple[str, str], str] = {}
    for table in re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE):
        (_, *columns), rule, *rows = [line.strip("|").split("|") for line in table.splitlines()]
        assert {len(row) for row in rows} == {len(rule)} == {1 + len(columns)}
        cells |= {
            (row.strip(), column.strip()): cell.strip()
            for row, *line in rows
            for column, cell in zip(columns, line, strict=True)
            if cell.strip() != "-"
        }
    return cells


def test_a_page_as_it_is_written() -> None:
    comparison = PaperTable(
        "Table 4",
        ("PGD-AT", "TRADES", "L2NNN", "RACL"),
        ("Params (M)", "CIFAR-10", "MNIST"),
        {
            ("PGD-AT", "Params (M)"): Measured(3.634),
            ("RACL", "Params (M)"): Measured(0.25),
            ("PGD-AT", "CIFAR-10"): Measured(30.04, 27.3, 33.0),
            ("RACL", "CIFAR-10"): Measured(36.0, 33.1, 39.0),
            ("RACL", "MNIST"): Measured(100.0, 99.6, 100.0),
        },
        {("PGD-AT", "CIFAR-10"): 46.25, ("TRADES", "CIFAR-10"): 51.0, ("PGD-AT", "Params (M)"): 3.6},
        notes=("1,000 test images.", "`racl-table`, 2 h."),
    )
    heading, legend, *table = comparison.markdown().split("\n\n")
    assert heading == "## Table 4"
    assert "interval" in legend
    assert "\n\n".join(table) == (
        "|  | Params (M) | CIFAR-10 | MNIST |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| PGD-AT | 3.63 / 3.6 | 30.0 / 46.25<br>[27.3, 33.0] | - |\n"
        "| TRADES | - | - / 51.00 | - |\n"
        "| L2NNN | - | - | - |\n"
        "| RACL | 0.25 / - | **36.0** / -<br>[33.1, 39.0] | 100.0 / -<br>[99.6, 100.0] |\n"
        "\n"
        "* 1,000 test images.\n"
        "* `racl-table`, 2 h.\n"
    )


@pytest.mark.parametrize("table", [TABLE_1, TABLE_4])
def test_every_published_figure_is_read_from_the_page_and_no_measured_one(table) -> None:
    cells = read(of_paper(table).markdown())
    assert {place: float(cell.removeprefix("- / ")) for place, cell in cells.items()} == table


def test_groups_of_columns_are_tables_of_their_own() -> None:
    assert of_paper(TABLE_1).blocks == (
        ("Params (M)", "AT: Clean", "AT: FGSM", "AT: MIM", "AT: PGD-20"),
        ("Clean", "FGSM", "MIM", "PGD-10"),
    )


@pytest.mark.parametrize(("count", "widths"), [(5, [5]), (6, [3, 3]), (7, [4, 3]), (11, [4, 4, 3])])
def test_a_wide_table_is_taken_apart_evenly(count, widths) -> None:
    blocks = PaperTable("A", ("x",), tuple(map(str, range(count))), {}, {}).blocks
    assert [len(block) for block in blocks] == widths


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", "AT: a", "AT: b", "Time (s)", "AT: Size (M)"]), min_size=1, max_size=14))
def test_blocks_keep_all_columns_in_order_and_groups_apart(columns) -> None:
    blocks = PaperTable("A", ("x",), tuple(columns), {}, {}).blocks
    assert [column for block in blocks for column in block] == columns
    for block in blocks:
        assert 1 <= len(block) <= 5
        assert len({column.startswith("AT: ") for column in block if not column.endswith(")")}) <= 1


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from("abcde"), st.tuples(st.integers(0, 40), st.integers(1, 5)), max_size=5))
def test_best_is_the_one_above_all_others_or_none(intervals) -> None:
    measured = {(row, "PGD"): Measured(low, low, low + width) for row, (low, width) in intervals.items()}
    above_all = [
        row
        for row, (low, _) in intervals.items()
        if len(intervals) > 1 and all(low > other + width for name, (other, width) in intervals.items() if name != row)
    ]
    assert [PaperTable("A", tuple("abcde"), ("PGD",), measured, {}).best("PGD")] == (above_all or [None])


def test_none_is_best_beside_a_figure_without_interval() -> None:
    measured = {("a", "PGD"): Measured(90.0, 88.0, 92.0), ("b", "PGD"): Measured(10.0, 9.0, 11.0)}
    assert PaperTable("A", ("a", "b", "c"), ("PGD",), measured, {}).best("PGD") == "a"
    measured["c", "PGD"] = Measured(20.0)
    assert PaperTable("A", ("a", "b", "c"), ("PGD",), measured, {}).best("PGD") is None


def test_everything_is_in_the_dictionary() -> None:
    measured = {("RACL", "MNIST"): percent(981, 1000), ("RACL", "CIFAR-100"): Measured(12.0)}
    comparison = of_paper(TABLE_4, measured)
    read_back = json.loads(json.dumps(comparison.to_dict()))
    ours = {(cell["row"], cell["column"]): cell["measured"] for cell in read_back["cells"] if cell["measured"]}
    paper = {(cell["row"], cell["column"]): cell["published"] for cell in read_back["cells"]}
    assert paper == TABLE_4
    low, high = wilson_interval(981, 1000)
    assert ours == {
        ("RACL", "MNIST"): {"value": 98.1, "interval": [100 * low, 100 * high]},
        ("RACL", "CIFAR-100"): {"value": 12.0, "interval": None},
    }


@pytest.mark.parametrize("images", [4, 10, 1000, 10000])
def test_all_and_none_of_the_images_are_figures_too(images) -> None:
    assert percent(0, images).value == 0
    assert percent(images, images).value == 100


@pytest.mark.parametrize("figure", [(0.52, 49.0, 55.0), (float("nan"), 49.0, 55.0), (52.0, 55.0, 49.0), (52.0, 49.0)])
def test_a_figure_lies_in_its_interval(figure) -> None:
    with pytest.raises(UsageError, match="interval"):
        Measured(*figure)


@pytest.mark.parametrize("of_ours", [True, False])
@pytest.mark.parametrize(("place", "message"), [(("RACl", "FGSM"), "row 'RACl'"), (("RACL", "FSGM"), "column 'FSGM'")])
def test_a_name_that_is_not_of_the_table_is_refused(of_ours, place, message) -> None:
    figures = ({place: Measured(1.0)}, {}) if of_ours else ({}, {place: 1.0})
    with pytest.raises(UsageError, match=f"Unknown {message}. Did you mean"):
        PaperTable("A", ("RACL",), ("FGSM",), *figures)
