import hashlib

import numpy as np
import pytest

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError


def test_digits_are_those_that_were_published_each_once() -> None:
    """The classes' sizes are those of the data set's page; the digest is of scikit-learn's copy of the same images."""
    dataset = load_dataset("digits")
    assert len(dataset.test) == 359
    images = np.concatenate([dataset.train.x, dataset.test.x])
    assert images.dtype == np.float32
    rows = np.column_stack([images.reshape(-1, 64) * 16, np.concatenate([dataset.train.y, dataset.test.y])])
    content = rows[np.lexsort(rows.T[::-1])].astype(np.uint8).tobytes()
    assert hashlib.sha256(content).hexdigest() == "f67d6a29d0e1f70e7f0cd9dcf25816b694881f4b8f27f5cc1db59551f0499fb8"
    counts = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    np.testing.assert_array_equal(np.bincount(rows[:, -1].astype(int)), counts)
    assert np.abs(np.bincount(dataset.test.y) - counts * 359 / 1797).max() < 1
    np.testing.assert_allclose(np.average(dataset.mean), dataset.train.x.mean(), rtol=1e-5)


def test_sizes_are_exact_stratified_and_a_function_of_the_seed() -> None:
    one, again, other = (load_dataset("digits", train_size=100, test_size=50, seed=seed) for seed in (0, 0, 1))
    assert (len(one.train), len(one.test)) == (100, 50)
    assert set(np.bincount(one.train.y)) <= {9, 10, 11}
    np.testing.assert_array_equal(one.train.x, again.train.x)
    assert not np.array_equal(one.train.x, other.train.x)


def test_the_test_split_is_the_same_for_every_seed() -> None:
    one, other = (load_dataset("digits", seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one.test.x, other.test.x)


def test_too_large_a_size_is_refused() -> None:
    with pytest.raises(UsageError, match="Cannot take 1439 of 1438 images"):
        load_dataset("digits", train_size=1439)


def test_digits_can_be_resized() -> None:
    assert load_dataset("digits", test_size=10, image_size=(12, 16)).test.x.shape == (10, 12, 16, 1)
