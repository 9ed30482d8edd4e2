import numpy as np
import pytest
from sklearn.datasets import load_digits

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError


def test_digits_are_those_of_scikit_learn_each_once() -> None:
    dataset = load_dataset("digits")
    bunch = load_digits()
    assert len(dataset.test) == 359
    images = np.concatenate([dataset.train.x, dataset.test.x])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(
        np.unique(images.reshape(-1, 64) * 16, axis=0), np.unique(bunch.images.reshape(-1, 64), axis=0)
    )
    counts = np.bincount(bunch.target)
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
