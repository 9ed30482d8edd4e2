"""The noise is the published generator's, uniform, and unrelated between neighbouring images, steps and places."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import chisquare, kstest

from racl_tf.attacks.noise import normals, signs, uniforms

NEIGHBOURS = tf.constant([[first, second] for first in range(-20, 20) for second in range(-20, 20)])


traced = tf.function(uniforms, autograph=False)  # where constants of 64 bits are built in another way


@pytest.mark.parametrize("function", [uniforms, traced])
def test_splitmix64(function) -> None:
    """The first numbers of the seed 0 are published with the generator."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    numbers = function(tf.constant([[0, 0]]), 0, 4).numpy()[0]
    np.testing.assert_array_equal(numbers * 2**24, [bits >> 40 for bits in published])


@pytest.mark.parametrize("function", [uniforms, traced])
def test_splitmix64_in_python(function) -> None:
    def mix(bits):
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        return bits ^ bits >> 31

    golden = 0x9E3779B97F4A7C15
    seeds, count = [[5, -7], [-(2**31), 2**31 - 1], [-1, 0]], [0, 9, 2**31 - 1]
    streams = [
        mix((high * 2**32 + low + step * golden) % 2**64) for (high, low), step in zip(seeds, count, strict=True)
    ]
    expected = [[mix((stream + j * golden) % 2**64) >> 40 for j in range(1, 6)] for stream in streams]
    np.testing.assert_array_equal(function(tf.constant(seeds), tf.constant(count), 5) * 2**24, expected)


def test_uniform_in_the_unit_interval() -> None:
    numbers = uniforms(NEIGHBOURS, 3, 40).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert chisquare(np.histogram(numbers, 64, (0, 1))[0]).pvalue > 0.01
    for place in numbers[:, :5].T:  # over images, at one place
        assert chisquare(np.histogram(place, 16, (0, 1))[0]).pvalue > 0.001
    assert (numbers < 0.5).sum() == (signs(numbers).numpy() == -1).sum()


@pytest.mark.parametrize(
    "other",
    [
        lambda: uniforms(NEIGHBOURS, 4, 40),
        lambda: uniforms(tf.add(NEIGHBOURS, [1, 0]), 3, 40),
        lambda: uniforms(tf.add(NEIGHBOURS, [0, 1]), 3, 40),
        lambda: tf.roll(uniforms(NEIGHBOURS, 3, 40), 1, axis=1),
    ],
    ids=["step", "first seed", "second seed", "place"],
)
def test_neighbours_are_unrelated(other) -> None:
    """Of n independent pairs the correlation is normal with deviation 1 / sqrt(n), here also of the squared numbers."""
    numbers, others = uniforms(NEIGHBOURS, 3, 40).numpy().ravel() - 0.5, other().numpy().ravel() - 0.5
    for power in (1, 2):
        assert abs(np.corrcoef(numbers**power, others**power)[0, 1]) < 3.5 / numbers.size**0.5
    pairs = np.histogram2d(numbers, others, 8)[0]
    assert chisquare(pairs.ravel()).pvalue > 0.001


def test_a_row_depends_on_its_own_seed_and_step_alone() -> None:
    seeds, count = NEIGHBOURS[:6], tf.constant([0, 0, 5, 1, 5000, 2])
    together = uniforms(seeds, count, 7).numpy()
    for i in range(6):
        np.testing.assert_array_equal(uniforms(seeds[i : i + 1], count[i], 7)[0], together[i])
    assert len(np.unique(together)) == together.size
    np.testing.assert_array_equal(uniforms(seeds, count, 3), together[:, :3])


def test_normals() -> None:
    numbers = normals(NEIGHBOURS, 0, 25).numpy()
    assert kstest(numbers.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(numbers[:, 1:].ravel(), numbers[:, :-1].ravel())[0, 1]) < 3.5 / numbers[:, 1:].size ** 0.5
