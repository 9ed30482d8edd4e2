"""How sure a figure is: the interval of a proportion, and that of a difference between systems from several seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from racl_tf.errors import UsageError


def wilson_interval(successes: int, total: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Returns the score interval of a proportion (Wilson, 1927), of 95% by default.

    It holds near 0 and 1 as well: 0 of n has an upper end above 0. Of 0 trials it is (0, 1).

    >>> low, high = wilson_interval(81, 263)
    >>> print(f"{low:.4f} {high:.4f}")
    0.2553 0.3662
    """
    if total == 0:
        return 0.0, 1.0
    share, spread = successes / total, z * z / total
    center = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return max(0.0, (center - half) / (1 + spread)), min(1.0, (center + half) / (1 + spread))


class Difference(NamedTuple):
    """A difference of accuracies, its 95% interval, and the two-sided p-value of there being none.

    The interval leaves 0 out where the p-value is below 0.05.
    """

    mean: float
    low: float
    high: float
    p_value: float

    @classmethod
    def of(cls, mean: float, error: float, freedom: int) -> "Difference":
        """Returns a difference by Student's t.

        Arguments:
            mean: the difference.
            error: its standard error.
            freedom: degrees of freedom of the error.
        """
        half = float(stats.t.ppf(0.975, freedom)) * error
        certain = 0.0 if mean else 1.0
        p_value = float(2 * stats.t.sf(abs(mean) / error, freedom)) if error else certain
        return cls(mean, mean - half, mean + half, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number, by Holm's step-down method (Holm, 1979).

    Those that are then at most a level hold together: the chance that any of them is a mistake is at most that level,
    however the comparisons depend on each other. The i-th smallest of m is multiplied by m + 1 - i, and none is below
    a smaller one's.

    >>> [round(p_value, 3) for p_value in holm([0.04, 0.01, 0.03])]
    [0.06, 0.03, 0.06]
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def detectable_difference(deviation: float, seeds: int, *, level: float = 0.05, power: float = 0.8) -> float:
    """Returns the difference of means that two systems of several seeds each show with a power, unpaired.

    It is (t_{1 - level / 2} + t_power) deviation sqrt(2 / seeds) with 2 seeds - 2 degrees of freedom.

    Arguments:
        deviation: the standard deviation over a system's seeds.
        seeds: of each system, at least 2.
        level: of the two-sided test, in (0, 1).
        power: in (0, 1).
    """
    quantiles = stats.t.ppf([1 - level / 2, power], 2 * seeds - 2)
    return float(quantiles.sum() * deviation * math.sqrt(2 / seeds))


def paired_bootstrap(first: npt.ArrayLike, second: npt.ArrayLike) -> Difference:
    r"""Returns the mean of first - second with its 95% interval, over seeds and images.

    Seeds and images are both drawn with replacement, the same ones for both systems (the two-way, or pigeonhole,
    bootstrap of Owen, 2007), so that the interval covers training anew on other seeds and testing on other images.
    Nothing has to be drawn for it: with the differences $d_{ij} = m + a_i + b_j + e_{ij}$ of k seeds and n
    images, whose parts a, b, e have mean 0 in every line, the variance of the bootstrapped means is

    $$v = \overline{a^2} / k + \overline{b^2} / n + \overline{e^2} / (k n),$$

    and the interval is $m \pm t_{k-1} \sqrt{v k / (k - 1)}$. Percentiles of the bootstrapped means, which know
    neither Student's t nor the k - 1, would cover 83% instead of 95% with five seeds. It is never narrower than the
    paired t interval over the seeds' means, and up to sqrt(3) too wide where seeds hardly differ.

    Arguments:
        first: which images are correct, bool (seeds, images), or any figures of that shape. Two seeds at least; below
            five, intervals are very wide.
        second: likewise, of the same seeds and images in the same order.

    Raises:
        UsageError: the shapes differ or are not (seeds, images), or there are fewer than two seeds.

    >>> paired_bootstrap([[1, 1], [1, 1]], [[0, 0], [0, 0]])
    Difference(mean=1.0, low=1.0, high=1.0, p_value=0.0)
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or one.ndim != 2 or not one.size:
        raise UsageError(
            f"Paired figures must have one shape (seeds, images). Received: {one.shape} and {other.shape}."
        )
    if (seeds := len(one)) < 2:
        raise UsageError("What differs between seeds takes two of them at least. Received: 1 seed.")
    rows = one - other
    by_seed, by_image = rows.mean(1, keepdims=True), rows.mean(0, keepdims=True)
    rest = rows - by_seed - by_image + rows.mean()
    variance = by_seed.var() / seeds + by_image.var() / rows.shape[1] + np.mean(rest**2) / rows.size
    return Difference.of(float(rows.mean()), math.sqrt(variance * seeds / (seeds - 1)), seeds - 1)
