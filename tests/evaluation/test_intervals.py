"""Wilson's interval against published numbers."""

import pytest

from racl_tf.evaluation import wilson_interval


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_intervals(successes, total, low, high):
    """Table I, method 3, of Newcombe (1998), Statistics in Medicine 17, 857-872."""
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(total - successes, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_nothing_observed_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
