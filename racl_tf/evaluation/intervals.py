"""How sure a figure is: the interval of a proportion, and that of a difference between systems from several seeds."""

import math
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
    """A difference of accuracies and its 95% interval."""

    mean: float
    low: float
    high: float


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
    Difference(mean=1.0, low=1.0, high=1.0)
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
    mean, half = float(rows.mean()), float(stats.t.ppf(0.975, seeds - 1) * np.sqrt(variance * seeds / (seeds - 1)))
    return Difference(mean, mean - half, mean + half)
