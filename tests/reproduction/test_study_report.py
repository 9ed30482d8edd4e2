"""A study's page states what follows from its outcomes: means, paired differences, correlations, movement."""

import json
import math
import pathlib

import numpy as np
import pytest

from racl_tf.evaluation.intervals import paired_bootstrap
from racl_tf.reproduction.study import Outcome
from racl_tf.reproduction.study_report import Study

RACL, BASELINE = "RACL, matrix norms", "without confidence learning"
SEEDS, IMAGES = 4, 50


def outcome(robust: np.ndarray, *, search: dict[str, float] | None = None, **figures: float) -> Outcome:
    clean = np.arange(IMAGES) < 45
    return Outcome(
        {"clean": clean, "pgd20": robust}, search or {}, figures, "normal: ... reduce: ...", 60.0, "racl_tf 0.1.0"
    )


def logs(common: float, edges: float, relative: float, **others: float) -> dict[str, float]:
    moved = {"mu_alpha_common": common, "mu_alpha_edges": edges, "mu_alpha_relative": relative}
    return moved | {"entropy_alpha": 1.5, **others}


@pytest.fixture
def study() -> Study:
    """RACL stands on 30 to 33 of 50 images, the baseline on 20 to 23 of the same, random cells on RACL's but others."""
    rows = {
        RACL: [np.arange(IMAGES) < 30 + seed for seed in range(SEEDS)],
        BASELINE: [np.arange(IMAGES) < 20 + seed for seed in range(SEEDS)],
        "random cells": [np.arange(IMAGES) >= 20 - seed for seed in range(SEEDS)],
    }
    return Study(
        {
            RACL: [
                outcome(
                    row, search=logs(0.3, 0.4, 0.0, constraint=0.1 * seed), slope=10.0 - seed, constraint=1.0 * seed
                )
                for seed, row in enumerate(rows[RACL])
            ],
            BASELINE: [
                outcome(row, search=logs(-0.6, 0.0, 0.8), slope=20.0 - seed) for seed, row in enumerate(rows[BASELINE])
            ],
            "random cells": [outcome(row, slope=math.inf) for row in rows["random cells"]],
        },
        "pgd20",
        ("from four seeds",),
    )


def test_means_and_deviations_are_over_seeds(study: Study) -> None:
    np.testing.assert_allclose(study.accuracies(RACL, "pgd20"), [0.60, 0.62, 0.64, 0.66])
    deviation = 2 * np.sqrt(5 / 3)  # of 60, 62, 64, 66: squares 9, 1, 1, 9 over 3
    assert f"| {RACL} | 90.0 ± 0.0 | 63.0 ± {deviation:.1f} |" in study.markdown()
    assert f"| {BASELINE} | 90.0 ± 0.0 | 43.0 ± {deviation:.1f} |" in study.markdown()


def test_differences_are_paired_and_bold_where_zero_is_out(study: Study) -> None:
    found = {(variant, baseline): difference for variant, baseline, difference in study.differences()}
    assert found.keys() == {(RACL, BASELINE), (RACL, "random cells"), (BASELINE, "random cells")}
    one, other = (np.stack([run.correct["pgd20"] for run in study.outcomes[name]]) for name in (RACL, BASELINE))
    assert found[RACL, BASELINE] == paired_bootstrap(one, other)
    assert found[RACL, BASELINE].mean == pytest.approx(0.2)
    assert found[RACL, BASELINE].low > 0
    assert found[RACL, "random cells"].mean == pytest.approx(0)

    def text(variant: str, baseline: str, bold: str) -> str:
        mean, low, high = (f"{100 * value:+.1f}" for value in found[variant, baseline])
        return f"{bold}{mean}{bold} [{low}, {high}]"

    page = study.markdown()
    assert f"| {RACL} | {text(RACL, BASELINE, '**')} | {text(RACL, 'random cells', '')} |" in page
    assert f"| {BASELINE} |  | {text(BASELINE, 'random cells', '')} |" in page, "which is 20 points but not certain"


def test_the_order_of_variants_hides_no_difference(study: Study) -> None:
    turned = Study(dict(reversed([*study.outcomes.items()])), "pgd20")
    assert {parts[:2] for parts in turned.differences()} == {parts[:2] for parts in study.differences()}


def test_correlations_are_of_ranks_over_all_networks_and_within_variants(study: Study) -> None:
    found = study.correlations()
    assert found.keys() == {"slope", "constraint"}
    # Random cells have one slope and tell nothing. Ranks of the other 8 by slope: RACL 4, 3, 2, 1; the baseline 8 to 5,
    # by accuracy 5 to 8 and 1 to 4. Within each of the two the order is the opposite one.
    slopes, robust = [4, 3, 2, 1, 8, 7, 6, 5], [5, 6, 7, 8, 1, 2, 3, 4]
    assert found["slope"].overall == pytest.approx(np.corrcoef(slopes, robust)[0, 1])
    assert found["slope"].within == pytest.approx(-1)
    assert found["slope"].count == 8
    # Of the 24^2 pairs of orders one is the very opposite and one the same in both, within what draws can tell.
    assert found["slope"].p_value == pytest.approx(2 / 24**2, abs=1.5e-3)
    assert (found["constraint"].overall, found["constraint"].count) == (None, SEEDS)
    assert found["constraint"].within == pytest.approx(1)
    assert found["constraint"].p_value == pytest.approx(2 / 24, abs=0.01)
    p_values = {name: f"{value.p_value:.2g}" for name, value in found.items()}
    assert f"| slope | {found['slope'].overall:.2f} | -1.00 | {p_values['slope']} | 8 |" in study.markdown()
    assert f"| constraint | - | 1.00 | {p_values['constraint']} | 4 |" in study.markdown()


def test_variants_that_differ_in_both_figures_are_no_evidence_within_them() -> None:
    """Seven variants with levels of their own, where seeds have nothing to do with each other: p is uniform."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(100):
        outcomes = {}
        for variant in "ABCDEFG":
            level, slope = rng.integers(10, 40), 5 * rng.normal()
            outcomes[variant] = [
                outcome(np.arange(IMAGES) < level + rng.integers(-5, 6), slope=slope + rng.normal()) for _ in range(5)
            ]
        p_values.append(Study(outcomes, "pgd20").correlations()["slope"].p_value)
    assert np.mean(np.array(p_values) < 0.05) < 0.12
    assert 0.4 < np.mean(p_values) < 0.6


@pytest.mark.parametrize("slopes", [(1.0,), (3.0, 3.0, 3.0, 3.0)])
def test_there_is_no_correlation_of_equal_figures(slopes: tuple[float, ...]) -> None:
    runs = [outcome(np.arange(IMAGES) < 10 + index, slope=slope) for index, slope in enumerate(slopes)]
    assert Study({"PC-DARTS": runs}, "pgd20").correlations() == {}


def test_two_networks_are_no_evidence() -> None:
    runs = [outcome(np.arange(IMAGES) < 10 + index, slope=2.0 + index) for index in range(2)]
    found = Study({"PC-DARTS": runs}, "pgd20").correlations()["slope"]
    assert (found.within, found.p_value) == pytest.approx((1, 1))


def test_movement_is_divided_as_the_docstring_says(study: Study) -> None:
    """Of 0.3 and 0.4 with nothing relative the share of the first is 0.09 / 0.25, of -0.6 and 0.8 it is 0.36."""
    moved = study.movement(RACL)
    assert moved == pytest.approx(
        {"common": 0.3, "edges": 0.4, "relative": 0, "share": 0.36, "entropy": 1.5, "constraint": 0.15}
    )
    assert study.movement(BASELINE)["share"] == pytest.approx(0.36)
    assert "constraint" not in study.movement(BASELINE)
    assert study.movement("random cells") == {}
    page = study.markdown()
    assert f"| {RACL} | 0.300 | 0.400 | 0.000 | 36% | 1.50 | 0.15 |" in page
    assert f"| {BASELINE} | -0.600 | 0.000 | 0.800 | 36% | 1.50 | - |" in page


def test_random_cells_alone_have_no_table_of_movement(study: Study) -> None:
    alone = Study({"random cells": study.outcomes["random cells"]}, "pgd20")
    assert "How mu of alpha moved" not in alone.markdown()
    assert "How mu of alpha moved" in study.markdown()


def test_a_search_that_moved_nothing_has_no_share() -> None:
    runs = [outcome(np.ones(IMAGES, bool), search=logs(0, 0, 0)), outcome(np.ones(IMAGES, bool), search=logs(1, 0, 1))]
    assert Study({"PC-DARTS": runs[:1]}, "pgd20").movement("PC-DARTS")["share"] == 0
    assert Study({"PC-DARTS": runs}, "pgd20").movement("PC-DARTS")["share"] == 0.5


def test_the_record_is_strict_json_of_every_figure(study: Study) -> None:
    text = json.dumps(study.to_dict(), allow_nan=False)
    record = json.loads(text)
    assert record["attack"] == "pgd20"
    assert [run["pgd20"] for run in record["runs"][RACL]] == [0.60, 0.62, 0.64, 0.66]
    assert record["runs"]["random cells"][0]["figures"] == {"slope": None}, "which is infinite"
    assert {(row["variant"], row["baseline"]) for row in record["differences"]} == {
        parts[:2] for parts in study.differences()
    }
    assert record["movement"][RACL]["share"] == pytest.approx(0.36)
    assert record["notes"] == ["from four seeds"]
    assert study.markdown().endswith("* from four seeds\n")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_written(suffix: str, study: Study, tmp_path: pathlib.Path) -> None:
    """It draws what there is; without the surrogate's figures the right half says nothing."""
    for runs in study.outcomes.values():
        for index, run in enumerate(runs):
            run.figures["ln surrogate, matrix"] = -5.0 + index  # type: ignore[index]
    study.plot(tmp_path / f"study.{suffix}")
    written = (tmp_path / f"study.{suffix}").read_bytes()
    assert len(written) > 1000
    if suffix == "svg":
        assert all(text in written.decode() for text in (RACL, "random cells"))
