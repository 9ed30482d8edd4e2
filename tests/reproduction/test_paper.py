"""The paper's figures as typed in: they satisfy what its text says of them, and contradict it where that is noted."""

import pytest

from racl_tf.reproduction.paper import FIGURE_3, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, Figures


def names(table: Figures) -> tuple[list[str], list[str]]:
    rows, columns = zip(*table, strict=True)
    return list(dict.fromkeys(rows)), list(dict.fromkeys(columns))


@pytest.mark.parametrize(
    ("table", "absent"),
    [(TABLE_1, 8), (TABLE_2, 0), (TABLE_3, 0), (TABLE_4, 1), (TABLE_5, 0), (FIGURE_3, 0)],
)
def test_tables_are_full_but_for_the_printed_blanks_and_hold_percentages(table, absent) -> None:
    rows, columns = names(table)
    assert len(table) == len(rows) * len(columns) - absent
    assert all(0 <= figure <= 100 for figure in table.values())


def test_gains_over_pc_darts_are_those_of_section_3_2() -> None:
    gain = {column: TABLE_1["RACL", column] - TABLE_1["PC-DARTS", column] for column in names(TABLE_1)[1]}
    assert gain["AT: FGSM"] == pytest.approx(4.77)
    assert gain["AT: PGD-20"] == pytest.approx(7.42)
    assert (TABLE_1["PC-DARTS", "AT: MIM"], TABLE_1["RACL", "AT: MIM"]) == (49.09, 54.73)
    assert gain["MIM"] == pytest.approx(3.47), "which the text gives as 3.56"


def test_racl_resists_every_attack_best_among_the_searched_networks() -> None:
    searched = [row for row in names(TABLE_1)[0] if row not in ("ResNet-18", "DenseNet-121")]
    for column in names(TABLE_1)[1]:
        if not column.endswith(("Clean", "(M)")):
            figures = {row: TABLE_1[row, column] for row in searched if (row, column) in TABLE_1}
            assert max(figures, key=figures.__getitem__) == "RACL"
    for column in names(TABLE_2)[1]:
        best = max(TABLE_2[row, column] for row in names(TABLE_2)[0])
        assert TABLE_2["RACL", column] == best
    assert TABLE_2["PC-DARTS", "FGSM"] == TABLE_2["RACL", "FGSM"]


def test_transfer_is_least_harmful_to_racl_and_most_where_it_is_white_box() -> None:
    rows, columns = names(TABLE_3)
    assert rows == columns
    for source in rows:
        figures = {target: TABLE_3[source, target] for target in columns}
        assert min(figures, key=figures.__getitem__) == source
        assert source == "RACL" or max(figures, key=figures.__getitem__) == "RACL"
    assert 100 - TABLE_3["RACL", "AmoebaNet"] == pytest.approx(35.01)
    assert 100 - TABLE_3["AmoebaNet", "RACL"] == pytest.approx(30.81)


def test_one_network_has_the_same_figures_in_all_tables() -> None:
    for column in ("Clean", "FGSM", "MIM"):
        assert TABLE_5["eta 0.9, rho 0.001", column] == TABLE_1["RACL", f"AT: {column}"]
    assert TABLE_5["eta 0.9, rho 0.001", "PGD-10"] == TABLE_3["RACL", "RACL"]
    assert TABLE_4["RACL", "CIFAR-10"] == round(TABLE_3["RACL", "RACL"], 1)
    assert FIGURE_3["DARTS", "PGD-20"] == TABLE_1["DARTS", "AT: PGD-20"]


def test_section_3_4_contradicts_table_1() -> None:
    gap = {steps: FIGURE_3["RACL", steps] - FIGURE_3["DARTS", steps] for steps in ("PGD-20", "PGD-100")}
    assert gap["PGD-100"] - gap["PGD-20"] == pytest.approx(0.26)
    assert (FIGURE_3["RACL", "PGD-20"], TABLE_1["RACL", "AT: PGD-20"]) == (49.43, 49.34)


def test_ten_more_steps_cost_more_than_eighty() -> None:
    ten = [TABLE_3[row, row] - TABLE_1[row, "AT: PGD-20"] for row in names(TABLE_3)[0]]
    eighty = [FIGURE_3[row, "PGD-20"] - FIGURE_3[row, "PGD-100"] for row in names(FIGURE_3)[0]]
    assert (round(min(ten), 1), round(max(ten), 1), round(max(eighty), 2)) == (3.7, 6.1, 0.65)


@pytest.mark.parametrize(
    ("figure", "printed"),
    [
        (TABLE_1["ResNet-18", "Params (M)"], 11.2),
        (TABLE_1["DenseNet-121", "FGSM"], 61.53),
        (TABLE_1["AmoebaNet", "AT: PGD-20"], 39.47),
        (TABLE_1["NASNet", "PGD-10"], 0.42),
        (TABLE_1["RobNet-medium", "AT: MIM"], 49.34),
        (TABLE_2["DARTS", "MIM"], 81.2),
        (TABLE_3["PC-DARTS", "DARTS"], 66.50),
        (TABLE_4["ADP", "MNIST"], 82.8),
        (TABLE_5["eta 0.9, rho 0.0001", "Clean"], 85.24),
    ],
)
def test_figures_are_in_their_places(figure, printed) -> None:
    assert figure == printed
