"""A study's page states what follows from its outcomes: means, paired differences, correlations, movement."""

import json
import math
import pathlib
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from racl_tf.evaluation.intervals import detectable_difference, holm, paired_bootstrap
from racl_tf.reproduction.study import PARAMETERS, Checked, Outcome
from racl_tf.reproduction.study_report import Study

RACL, BASELINE = "RACL, matrix norms", "without confidence learning"
SEEDS, IMAGES = 4, 50


def outcome(robust: np.ndarray, search: dict[str, float] | None = None, **figures: float) -> Outcome:
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


def test_differences_are_paired_and_have_a_star_where_zero_is_out(study: Study) -> None:
    found = {(variant, baseline): difference for variant, baseline, difference in study.differences()}
    assert found.keys() == {(RACL, BASELINE), (RACL, "random cells"), (BASELINE, "random cells")}
    one, other = (np.stack([run.correct["pgd20"] for run in study.outcomes[name]]) for name in (RACL, BASELINE))
    assert found[RACL, BASELINE] == paired_bootstrap(one, other)
    assert found[RACL, BASELINE].mean == pytest.approx(0.2)
    assert found[RACL, BASELINE].low > 0
    assert found[RACL, "random cells"].mean == pytest.approx(0)

    def text(variant: str, baseline: str, star: str) -> str:
        mean, low, high = (f"{100 * value:+.1f}" for value in found[variant, baseline][:3])
        return f"{mean}{star} [{low}, {high}]"

    page = study.markdown()
    assert f"| {RACL} | {text(RACL, BASELINE, '*')} | {text(RACL, 'random cells', '')} |" in page
    assert f"| {BASELINE} |  | {text(BASELINE, 'random cells', '')} |" in page, "which is 20 points but not certain"


def test_what_is_bold_is_corrected_for_the_number_of_comparisons() -> None:
    """A comparison that is significant by itself alone is not bold but has a star."""
    standing = {RACL: 50, "RACL, operator norms": 20, BASELINE: 5, "PC-DARTS": 5, "random cells": 20}
    outcomes = {name: [outcome(np.arange(IMAGES) < count)] * SEEDS for name, count in standing.items()}
    study = Study(outcomes, "pgd20")
    differences = {(one, other): difference for one, other, difference in study.differences()}
    corrected = study.corrected()
    assert list(corrected.values()) == holm([difference.p_value for difference in differences.values()])
    page, bold, stars = study.markdown(), 0, 0
    for pair, difference in differences.items():
        mean = f"{100 * difference.mean:+.1f}"
        assert (f" **{mean}** [" in page) == (corrected[pair] <= 0.05)
        bold += corrected[pair] <= 0.05
        if difference.p_value <= 0.05 < corrected[pair]:
            assert f" {mean}* [" in page
            stars += 1
    assert bold
    assert stars
    assert f"correction for all {len(differences)} comparisons" in page


def test_what_a_study_can_detect_follows_from_its_own_spread(study: Study) -> None:
    deviation = np.sqrt(5 / 3) * 0.02  # of each variant's seeds
    assert study.deviation() == pytest.approx(deviation)
    alone, first = (100 * detectable_difference(deviation, SEEDS, level=level) for level in (0.05, 0.05 / 3))
    page = study.markdown()
    assert f"standard deviation of {100 * deviation:.1f} points" in page
    assert f"A difference of {alone:.1f} points" in page
    assert f"one of {first:.1f} as the first of 3 comparisons" in page


def test_differences_at_equal_parameters_are_an_analysis_of_covariance() -> None:
    """Against the textbook's form: the means' difference less the slope within groups times that of the sizes."""
    rng = np.random.default_rng(2)
    names, sizes, robust = (RACL, BASELINE, "random cells"), {}, {}
    outcomes = {}
    for index, name in enumerate(names):
        sizes[name] = rng.normal(10 + index, 0.4, SEEDS)
        rows = [rng.random(IMAGES) < np.clip(0.1 + 0.05 * size - 0.1 * index, 0, 1) for size in sizes[name]]
        robust[name] = np.array([row.mean() for row in rows])
        outcomes[name] = [
            replace(outcome(row), figures={PARAMETERS: size}) for row, size in zip(rows, sizes[name], strict=True)
        ]
    inside = {name: (sizes[name] - sizes[name].mean(), robust[name] - robust[name].mean()) for name in names}
    squares = sum(x @ x for x, _ in inside.values())
    slope = sum(x @ y for x, y in inside.values()) / squares
    freedom = 3 * SEEDS - 4
    variance = sum(np.sum((y - slope * x) ** 2) for x, y in inside.values()) / freedom
    study = Study(outcomes, "pgd20")
    found = study.at_equal_parameters()
    assert found.keys() == study.corrected().keys()
    for (one, other), difference in found.items():
        apart = sizes[one].mean() - sizes[other].mean()
        assert difference.mean == pytest.approx(robust[one].mean() - robust[other].mean() - slope * apart)
        error = np.sqrt(variance * (2 / SEEDS + apart**2 / squares))
        assert difference.high - difference.mean == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert "networks of equally many parameters" in study.markdown()


def test_without_a_spread_of_sizes_nothing_is_said_at_equal_parameters(study: Study) -> None:
    assert study.at_equal_parameters() == {}
    alike = replace(outcome(np.arange(IMAGES) < 9), figures={PARAMETERS: 7.0})
    runs = {name: [alike] * SEEDS for name in (RACL, "random cells")}
    assert Study(runs, "pgd20").at_equal_parameters() == {}
    assert "equally many parameters" not in study.markdown()


def test_the_check_of_the_ranking_is_shown(study: Study) -> None:
    checked = [
        Checked(RACL, "best", 3, 0.66, 0.61),
        Checked(RACL, "median", 1, 0.62, 0.60),
        Checked(BASELINE, "best", 3, 0.46, 0.45),
    ]
    page = Study(study.outcomes, "pgd20", (), checked, "apgd_t").markdown()
    assert "under apgd_t as well" in page
    assert "Spearman's 1.00" in page
    assert f"| {RACL} | best, seed 3 | 66.0 | 61.0 |" in page
    assert "as well" not in study.markdown()


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
