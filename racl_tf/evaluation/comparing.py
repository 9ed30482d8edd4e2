"""Whether a difference between systems trained from several seeds is more than chance."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from racl_tf.errors import UsageError


class Difference(NamedTuple):
    """A difference of accuracies and its 95% interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    first: npt.ArrayLike, second: npt.ArrayLike, *, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Returns the mean of first - second with its 95% percentile interval, over seeds and images.

    Seeds and images are both drawn with replacement, the same ones for both systems (a two-way paired bootstrap), so
    that the interval covers training anew on other seeds and testing on other images. With k seeds it is too narrow by
    a factor of about sqrt((k - 1) / k), and k below 5 is hardly worth it.

    Arguments:
        first, second: which images are correct, bool (seeds, images), or any figures of that shape; the same
            seeds and images in the same order.
        resamples: how often is drawn.
        seed: of the drawing.

    Raises:
        UsageError: the shapes differ or are not (seeds, images).

    >>> paired_bootstrap([[1, 1], [1, 1]], [[0, 0], [0, 0]])
    Difference(mean=1.0, low=1.0, high=1.0)
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or one.ndim != 2 or not one.size:
        raise UsageError(
            f"Paired figures must have one shape (seeds, images). Received: {one.shape} and {other.shape}."
        )
    differences, rng = one - other, np.random.default_rng(seed)
    over_seeds, over_images = (
        rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count for count in differences.shape
    )
    means = np.einsum("bi,bi->b", over_seeds @ differences, over_images)
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(float(differences.mean()), float(low), float(high))
