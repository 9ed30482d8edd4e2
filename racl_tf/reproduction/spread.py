"""What share of the spread of accuracies lies between cells, which tells whether a budget can rank them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from racl_tf.errors import UsageError
from racl_tf.result import Result
from racl_tf.tables import markdown_table


@dataclass(frozen=True)
class Components(Result):
    """The variance of one figure over cells, each trained several times, in its two parts.

    Arguments:
        mean: of all trainings.
        between: the standard deviation between cells, of what a cell's trainings share; 0 where it is not seen.
        within: the standard deviation between the trainings of one cell.
        share: of the variance that lies between cells, in [0, 1].
        low: the lower end of its 95% interval.
        high: the upper end.
        p_value: of the F test that all cells are alike.
        cells: their number.
        trainings: of each cell.
    """

    mean: float
    between: float
    within: float
    share: float
    low: float
    high: float
    p_value: float
    cells: int
    trainings: int

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        return (
            f"{self.share:.0%} [{self.low:.0%}, {self.high:.0%}] of the variance lies between {self.cells} cells of "
            f"{self.trainings} trainings each (F test: p = {self.p_value:.2g}); standard deviations {self.between:.3g} "
            f"between and {self.within:.3g} within cells."
        )

    def detectable(self, seeds: int, *, power: float = 0.8) -> float:
        """Returns the difference of means that two ways to search show with a power at the 5% level, unpaired.

        Each seed of each way trains one cell of its own, so that both parts of the variance count.

        Arguments:
            seeds: of each way.
            power: in (0, 1).
        """
        deviation = math.hypot(self.between, self.within)
        freedom = 2 * seeds - 2
        quantiles = stats.t.ppf(0.975, freedom) + stats.t.ppf(power, freedom)
        return float(quantiles * deviation * math.sqrt(2 / seeds))


def variance_components(figures: npt.ArrayLike) -> Components:
    r"""Returns the parts of the variance between and within groups, from a one-way layout of random effects.

    With mean squares $MS_b$ between and $MS_w$ within k groups of n, the variances are
    $(MS_b - MS_w) / n$, at least 0, and $MS_w$; the interval of the share inverts the F distribution of their ratio
    (Searle, Casella and McCulloch, Variance Components, 1992, Section 3.6).

    Arguments:
        figures: (groups, trainings of each), two of each at least.

    Raises:
        UsageError: for another shape.

    >>> components = variance_components([[1, 1.2], [2, 2.2], [3, 3.2]])
    >>> print(f"{components.share:.2f} {components.within:.2f}")
    0.98 0.14
    """
    values = np.asarray(figures, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise UsageError(
            f"Parts of a variance take two cells of two trainings each at least. Received figures of {values.shape}."
        )
    cells, trainings = values.shape
    means = values.mean(1)
    between = trainings * float(means.var(ddof=1))
    within = float(values.var(1, ddof=1).mean())
    freedom = cells - 1, cells * (trainings - 1)
    ratio = between / within if within else math.inf
    variance = max(0.0, (between - within) / trainings)
    low, high = (_share(ratio / float(stats.f.ppf(level, *freedom)), trainings) for level in (0.975, 0.025))
    return Components(
        mean=float(values.mean()),
        between=math.sqrt(variance),
        within=math.sqrt(within),
        share=variance / (variance + within) if variance else 0.0,
        low=low,
        high=high,
        p_value=float(stats.f.sf(ratio, *freedom)),
        cells=cells,
        trainings=trainings,
    )


def _share(ratio: float, trainings: int) -> float:
    """Returns the share of the variance between groups that makes a ratio of mean squares, within [0, 1]."""
    if math.isinf(ratio):
        return 1.0
    return max(0.0, (ratio - 1) / (ratio - 1 + trainings))


def components_table(components: Mapping[str, Components], seeds: Sequence[int]) -> str:
    """Returns a table in Markdown of a figure's parts for each budget, in percentage points.

    Arguments:
        components: of accuracies in [0, 1], by budget.
        seeds: numbers of seeds for which the detectable difference is told.
    """
    heading = ["budget", "mean", "between cells", "within cells", "share between", "p"]
    heading += [f"detectable with {count} seeds" for count in seeds]
    rows = []
    for name, part in components.items():
        points = [f"{100 * value:.1f}" for value in (part.mean, part.between, part.within)]
        share = f"{part.share:.0%} [{part.low:.0%}, {part.high:.0%}]"
        rows.append(
            [name, *points, share, f"{part.p_value:.2g}", *(f"{100 * part.detectable(count):.1f}" for count in seeds)]
        )
    return markdown_table(heading, rows)
