"""What a study found: means over seeds, paired differences, correlations, and how RACL's weights moved."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy import stats

from racl_tf.evaluation.intervals import Difference, detectable_difference, holm, paired_bootstrap
from racl_tf.reproduction.study import PARAMETERS, Checked, Outcome
from racl_tf.result import Result
from racl_tf.tables import markdown_table

SURROGATE = "ln surrogate, matrix"
_IN_OWN_UNITS = ("constraint", "mu_F")  # which depend on a variant's norms and on what is free of scale
_DRAWS = 20_000
_COLORS = ("#1f4e9c", "#5b9bd8", "#12735c", "#55b694", "#c8571b", "#8a5aa8", "#6b6b6b", "#b8a200")
BASELINES = ("without confidence learning", "PC-DARTS", "random cells")


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of a figure of networks or searches with robust accuracy.

    Arguments:
        overall: over all networks, whatever they were searched by; None where variants have the figure in units of
            their own, such as c under other norms.
        within: over ranks among the networks of one variant.
        p_value: of `within`, two-sided, by permutation of the networks of each variant.
        count: the number of networks.
    """

    overall: float | None
    within: float
    p_value: float
    count: int


@dataclass(frozen=True, eq=False)
class Study(Result):
    """The outcomes of every variant from every seed.

    Arguments:
        outcomes: by variant, a list in the order of seeds.
        attack: whose robust accuracy is compared.
        notes: what a reader has to know of the runs.
        checked: networks that a stronger attack was run on too.
        check: the name of that attack.
    """

    outcomes: Mapping[str, Sequence[Outcome]]
    attack: str
    notes: tuple[str, ...] = ()
    checked: Sequence[Checked] = ()
    check: str = ""

    def accuracies(self, variant: str, name: str) -> np.ndarray:
        """Returns the accuracy of a variant's seeds (seeds,), clean or under an attack."""
        return self._correct(variant, name).mean(1)

    def difference(self, variant: str, baseline: str) -> Difference:
        """Returns by how much a variant's robust accuracy is above a baseline's, with its paired interval."""
        return paired_bootstrap(self._correct(variant, self.attack), self._correct(baseline, self.attack))

    def differences(self) -> Iterator[tuple[str, str, Difference]]:
        """Yields the difference of every variant to each of the baselines, and of a baseline to those after it."""
        for index, baseline in enumerate(BASELINES):
            if baseline in self.outcomes:
                for variant in self.outcomes:
                    if variant not in BASELINES[index:]:
                        yield variant, baseline, self.difference(variant, baseline)

    def corrected(self) -> dict[tuple[str, str], float]:
        """Returns the p-value of each of `differences`, corrected for their number by `holm`."""
        return _corrected(self._found())

    def deviation(self) -> float:
        """Returns the standard deviation of robust accuracy over the seeds of one variant, pooled over variants."""
        variances = [self.accuracies(variant, self.attack).var(ddof=1) for variant in self.outcomes]
        return math.sqrt(float(np.mean(variances)))

    def at_equal_parameters(self) -> dict[tuple[str, str], Difference]:
        """Returns the `differences` as they would be between networks of equally many parameters.

        By an analysis of covariance: robust accuracy is a level of each variant plus one slope, common to all, times
        ln of the network's parameters, fitted by least squares over all networks; seeds are not paired. Empty where
        networks of one variant do not differ in size, so that the slope is not known, or figures lack.
        """
        names = list(self.outcomes)
        runs = [(names.index(name), run) for name in names for run in self.outcomes[name]]
        if any(not math.isfinite(run.figures.get(PARAMETERS, math.inf)) for _, run in runs):
            return {}
        robust = np.array([run.correct[self.attack].mean() for _, run in runs])
        sizes = np.array([run.figures[PARAMETERS] for _, run in runs])
        design = np.zeros((len(runs), len(names) + 1))
        design[np.arange(len(runs)), [index for index, _ in runs]] = 1
        design[:, -1] = sizes - sizes.mean()
        freedom = len(runs) - len(names) - 1
        if freedom < 1 or np.linalg.matrix_rank(design) <= len(names):
            return {}
        levels, *_ = np.linalg.lstsq(design, robust, rcond=None)
        variance = float(np.sum((robust - design @ levels) ** 2)) / freedom
        covariance = variance * np.linalg.inv(design.T @ design)
        found = {}
        for variant, baseline, _ in self.differences():
            contrast = np.zeros(len(names) + 1)
            contrast[names.index(variant)], contrast[names.index(baseline)] = 1, -1
            error = math.sqrt(max(0.0, float(contrast @ covariance @ contrast)))
            found[variant, baseline] = Difference.of(float(contrast @ levels), error, freedom)
        return found

    def correlations(self) -> dict[str, Correlation]:
        """Returns, for each figure, its rank correlation with robust accuracy over all networks that have it.

        Figures of the networks (surrogates, slope, upper bound) are there for all; c and mu_F, as the search left
        them, for those with a constraint. A variant whose networks have it all alike tells nothing and is left out.
        """
        figures = dict.fromkeys(name for runs in self.outcomes.values() for run in runs for name in run.figures)
        found = {name: self._correlation(name) for name in figures}
        return {name: correlation for name, correlation in found.items() if correlation is not None}

    def _correlation(self, name: str) -> Correlation | None:
        groups = []
        for runs in self.outcomes.values():
            pairs = [(run.figures[name], run.correct[self.attack].mean()) for run in runs if name in run.figures]
            if pairs and all(len(set(values)) > 1 for values in zip(*pairs, strict=True)):
                groups.append(np.array(pairs))
        if not groups:
            return None
        ranks = [stats.rankdata(pairs, axis=0) - (len(pairs) + 1) / 2 for pairs in groups]
        figure, robust = np.concatenate(ranks).T
        rng = np.random.default_rng(0)
        shuffled = np.concatenate([rng.permuted(np.tile(rank[:, 1], (_DRAWS, 1)), axis=1) for rank in ranks], axis=1)
        extreme = np.abs(shuffled @ figure) >= abs(robust @ figure) - 1e-9
        overall = None if name in _IN_OWN_UNITS else float(stats.spearmanr(np.concatenate(groups)).statistic)
        within = float(robust @ figure / np.sqrt((robust @ robust) * (figure @ figure)))
        return Correlation(overall, within, float((1 + extreme.sum()) / (1 + _DRAWS)), len(figure))

    def movement(self, variant: str) -> dict[str, float]:
        """Returns how mu of alpha moved in a variant's searches, averaged over seeds; empty without a search.

        The mean square of all changes is common^2 + edges^2 + relative^2: what all share, what an edge's operations
        share besides, and what tells operations apart. `share` is common^2 of it, in the searches where mu moved.
        """
        logs = [outcome.search for outcome in self.outcomes[variant] if outcome.search]
        if not logs:
            return {}
        common, edges, relative = (
            np.array([log[f"mu_alpha_{name}"] for log in logs]) for name in ("common", "edges", "relative")
        )
        moved = {"common": float(common.mean()), "edges": float(edges.mean()), "relative": float(relative.mean())}
        total = common**2 + edges**2 + relative**2
        moved["share"] = float(np.mean(common[total > 0] ** 2 / total[total > 0])) if total.any() else 0.0
        moved["entropy"] = float(np.mean([log["entropy_alpha"] for log in logs]))
        constrained = [log["constraint"] for log in logs if "constraint" in log]
        return moved | ({"constraint": float(np.mean(constrained))} if constrained else {})

    def to_dict(self) -> dict[str, Any]:
        """Returns every figure, ready for JSON."""
        runs = {
            variant: [
                {name: float(rows.mean()) for name, rows in outcome.correct.items()}
                | {"search": _finite(outcome.search), "figures": _finite(outcome.figures)}
                | {"genotype": outcome.genotype, "seconds": outcome.seconds}
                for outcome in outcomes
            ]
            for variant, outcomes in self.outcomes.items()
        }
        corrected, equal = self.corrected(), self.at_equal_parameters()
        differences = [
            {"variant": variant, "baseline": baseline, **difference._asdict()}
            | {"corrected_p_value": corrected[variant, baseline]}
            | ({"at_equal_parameters": equal[variant, baseline]._asdict()} if equal else {})
            for variant, baseline, difference in self.differences()
        ]
        correlations = {name: asdict(value) for name, value in self.correlations().items()}
        return {
            "attack": self.attack,
            "runs": runs,
            "differences": differences,
            "correlations": correlations,
            "movement": {variant: self.movement(variant) for variant in self.outcomes},
            "checks": {"attack": self.check, "networks": [asdict(one) for one in self.checked]},
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """Returns the page of the study."""
        names, found = list(next(iter(self.outcomes.values()))[0].correct), self._found()
        parts = [
            "## Is the difference real?",
            f"Accuracy in percent over seeds, mean and standard deviation; {self.attack} is what is compared.",
            markdown_table(
                ["searched by", *names],
                [
                    [variant, *(_mean_and_deviation(100 * self.accuracies(variant, name)) for name in names)]
                    for variant in self.outcomes
                ],
            ),
            self._power(len(found)),
            f"Differences of accuracy under {self.attack} in percentage points, with 95% intervals over seeds and "
            "images (Student's t, with the error of the paired bootstrap). Bold: significant at 5% after Holm's "
            f"correction for all {len(found)} comparisons; * by itself alone, which some are by chance.",
            markdown_table(*self._difference_table(found)),
            *self._equal_parameters(),
            *self._checks(),
            f"Spearman's rank correlation with accuracy under {self.attack}: over all networks, and by ranks among "
            "those of one way to search, with p of the latter by permutation among them.",
            markdown_table(["figure", "all", "within", "p", "networks"], self._correlation_rows()),
        ]
        if movement := self._movement_rows():
            parts += [
                "How mu of alpha moved during the search, averaged over seeds: what all entries share, what an edge's "
                "share besides (standard deviation), what tells operations apart (root mean square), the share of the "
                "first in the mean square; the entropy of the mixture without zero (1.95 at the "
                "start); and c at the end.",
                markdown_table(["searched by", "common", "edges", "relative", "share", "entropy", "c"], movement),
            ]
        if self.notes:
            parts.append("\n".join(f"* {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def __str__(self) -> str:
        return self.markdown()

    def _found(self) -> dict[tuple[str, str], Difference]:
        return {(variant, baseline): difference for variant, baseline, difference in self.differences()}

    def _power(self, comparisons: int) -> str:
        seeds, deviation = len(next(iter(self.outcomes.values()))), self.deviation()
        alone = 100 * detectable_difference(deviation, seeds)
        text = (
            f"Over {seeds} seeds of one way to search, {self.attack} accuracy has a standard deviation of "
            f"{100 * deviation:.1f} points (pooled). A difference of {alone:.1f} points would show with a power of 80% "
            "at the 5% level (unpaired)"
        )
        if comparisons > 1:
            all_of_them = 100 * detectable_difference(deviation, seeds, level=0.05 / comparisons)
            text += f", one of {all_of_them:.1f} as the first of {comparisons} comparisons"
        return f"{text}."

    def _difference_table(self, found: Mapping[tuple[str, str], Difference]) -> tuple[list[str], list[list[str]]]:
        baselines, corrected, rows = [name for name in BASELINES if name in self.outcomes], _corrected(found), []
        for variant in self.outcomes:
            cells = [_difference(found.get((variant, name)), corrected.get((variant, name), 1.0)) for name in baselines]
            if any(cells):
                rows.append([variant, *cells])
        return ["", *(f"minus {name}" for name in baselines)], rows

    def _equal_parameters(self) -> list[str]:
        found = self.at_equal_parameters()
        if not found:
            return []
        sizes = {name: np.exp([run.figures[PARAMETERS] for run in runs]).mean() for name, runs in self.outcomes.items()}
        listed = ", ".join(f"{name} {size / 1000:.1f} k" for name, size in sizes.items())
        return [
            "The same between networks of equally many parameters (analysis of covariance with ln of the parameters, "
            f"unpaired). Mean parameters: {listed}.",
            markdown_table(*self._difference_table(found)),
        ]

    def _checks(self) -> list[str]:
        if not self.checked:
            return []
        rows = [
            [one.variant, f"{one.place}, seed {one.seed}", f"{100 * one.robust:.1f}", f"{100 * one.checked:.1f}"]
            for one in self.checked
        ]
        correlation = stats.spearmanr([(one.robust, one.checked) for one in self.checked]).statistic
        ranks = "" if math.isnan(correlation) else f" Both rank them alike with Spearman's {correlation:.2f}."
        return [
            f"The best and the median network of each way under {self.check} as well, accuracy in percent.{ranks}",
            markdown_table(["searched by", "network", self.attack, self.check], rows),
        ]

    def _correlation_rows(self) -> list[list[str]]:
        rows = []
        for name, value in self.correlations().items():
            overall = "-" if value.overall is None else f"{value.overall:.2f}"
            rows.append([name, overall, f"{value.within:.2f}", f"{value.p_value:.2g}", str(value.count)])
        return rows

    def _movement_rows(self) -> list[list[str]]:
        rows = []
        for variant in self.outcomes:
            if moved := self.movement(variant):
                last = f"{moved['constraint']:.2f}" if "constraint" in moved else "-"
                numbers = (f"{moved[name]:.3f}" for name in ("common", "edges", "relative"))
                rows.append([variant, *numbers, f"{moved['share']:.0%}", f"{moved['entropy']:.2f}", last])
        return rows

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws each seed's robust accuracy by variant, and that of all networks over the surrogate constant."""
        figure = Figure(figsize=(11, 0.36 * len(self.outcomes) + 1.7), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        left.set_yticks(range(len(self.outcomes)), list(self.outcomes))
        left.invert_yaxis()
        for row, (variant, outcomes) in enumerate(self.outcomes.items()):
            color, robust = _COLORS[row % len(_COLORS)], self.accuracies(variant, self.attack)
            points: dict[str, Any] = {"color": color, "alpha": 0.65, "markersize": 7, "markeredgewidth": 0}
            left.plot(robust, np.full(len(robust), row), "o", **points)
            left.plot([robust.mean()] * 2, [row - 0.32, row + 0.32], color=color, linewidth=2.5)
            left.get_yticklabels()[row].set_color(color)
            right.plot([outcome.figures[SURROGATE] for outcome in outcomes], robust, "o", **points)
        left.set_title("seeds (dots) and their mean (bar)", size=10, loc="left")
        if correlation := self.correlations().get(SURROGATE):
            text = f"rank correlation within colours {correlation.within:.2f}, p = {correlation.p_value:.2g}"
            right.set_title(text, size=10, loc="left")
        right.set_xlabel("ln of the surrogate constant, matrix norms")
        left.set_xlabel(f"accuracy under {self.attack}")
        right.set_ylabel(f"accuracy under {self.attack}")
        for axis in (left.xaxis, right.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        for axes in (left, right):
            axes.grid(color="#e4e8ee")
            axes.set_axisbelow(True)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        figure.savefig(path, dpi=160)

    def _correct(self, variant: str, name: str) -> np.ndarray:
        return np.stack([outcome.correct[name] for outcome in self.outcomes[variant]])


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Returns figures as JSON can hold them, None in place of an infinite one."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _mean_and_deviation(values: np.ndarray) -> str:
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def _corrected(found: Mapping[tuple[str, str], Difference]) -> dict[tuple[str, str], float]:
    """Returns the p-values of differences, corrected for their number."""
    return dict(zip(found, holm([difference.p_value for difference in found.values()]), strict=True))


def _difference(difference: Difference | None, corrected: float) -> str:
    if difference is None:
        return ""
    mean, low, high = (100 * value for value in difference[:3])
    text = f"{mean:+.1f}"
    if corrected <= 0.05:
        text = f"**{text}**"
    elif difference.p_value <= 0.05:
        text += "*"
    return f"{text} [{low:+.1f}, {high:+.1f}]"
