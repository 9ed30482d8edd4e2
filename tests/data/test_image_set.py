from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from racl_tf.data import Dataset, ImageSet
from racl_tf.errors import UsageError


def grey(count=4, dtype=np.uint8):
    return np.zeros((count, 2, 2, 1), dtype)


def labels(*values):
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (grey()[..., 0], labels(0, 0, 0, 0), r"shape \(N, H, W, C\).*Received shape \(4, 2, 2\)"),
        (np.zeros((4, 2, 2, 2), np.uint8), labels(0, 0, 0, 0), "C of 1 or 3"),
        (grey(0), labels(), "at least one image"),
        (grey(dtype=np.float64), labels(0, 0, 0, 0), "Received float64"),
        (np.full((1, 2, 2, 1), 255, np.float32), labels(0), r"in \[0, 1\].*from 255.0 to 255.0"),
        (np.full((1, 2, 2, 1), -0.1, np.float32), labels(0), r"in \[0, 1\].*from -0.1\d* to -0.1"),
        (np.array([0, np.nan], np.float32).reshape(2, 1, 1, 1), labels(0, 0), "NaN in 1 of 2"),
        (grey(), labels(0, 0, 0), "4 images and 3 labels"),
        (grey(2), labels(0, -1), "Received -1"),
        (grey(2), np.array([0, 1]), "dtype int64"),
        (grey(2), np.zeros((2, 1), np.int32), r"shape \(2, 1\)"),
    ],
)
def test_what_is_no_image_set_is_refused(x, y, message) -> None:
    with pytest.raises(UsageError, match=message):
        ImageSet(x, y)


def test_every_byte_maps_to_its_fraction_of_255() -> None:
    data = ImageSet(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1), np.zeros(256, np.int32))
    images = data.images()
    assert images.dtype == np.float32
    np.testing.assert_allclose(images.ravel(), np.arange(256) / 255, rtol=2e-7)
    assert (images.min(), images.max()) == (0, 1)


def test_take_and_images_follow_the_order_of_indices() -> None:
    x = np.linspace(0, 1, 4, dtype=np.float32).reshape(4, 1, 1, 1)
    data = ImageSet(x, labels(0, 1, 2, 3))
    assert data.take([2, 0]).y.tolist() == [2, 0]
    np.testing.assert_array_equal(data.take([2, 0]).x, data.images([2, 0]))
    np.testing.assert_array_equal(data.images([2, 0]), x[[2, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mean_and_std_are_those_of_the_training_images_in_unit_range(dtype) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (20, 5, 4, 3))
    pixels[..., 2] = 77
    unit = pixels / 255
    x = pixels.astype(np.uint8) if dtype == np.uint8 else unit.astype(np.float32)
    train = ImageSet(x, np.zeros(20, np.int32))
    dataset = Dataset("noise", train, train.take([0]), ("only",))
    np.testing.assert_allclose(dataset.mean, unit.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(dataset.std, [unit[..., 0].std(), unit[..., 1].std(), 1.0], rtol=1e-6)
    assert dataset.input_shape == (5, 4, 3)
    assert dataset.num_classes == 1


def test_labels_beyond_the_class_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'two' has 2 classes.*0\.\.1.*test label 2"):
        Dataset("two", ImageSet(grey(2), labels(0, 1)), ImageSet(grey(2), labels(0, 2)), ("a", "b"))


def test_training_and_test_images_must_have_one_shape() -> None:
    wide = np.zeros((1, 2, 3, 1), np.uint8)
    with pytest.raises(UsageError, match=r"\(2, 2, 1\) and \(2, 3, 1\)"):
        Dataset("odd", ImageSet(grey(1), labels(0)), ImageSet(wide, labels(0)), ("a",))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mean_and_std_are_numpys_whatever_the_number_of_images(dtype, channels) -> None:
    """They are summed by parts of 256 images, of which the last may be smaller."""
    rng = np.random.default_rng(0)
    for count in (1, 255, 256, 257, 1000):
        noise = rng.random((count, 4, 5, channels)) ** 3
        x = (255 * noise).astype(dtype) if dtype == np.uint8 else noise.astype(dtype)
        train = ImageSet(x, np.zeros(count, np.int32))
        dataset = Dataset("noise", train, train.take([0]), ("only",))
        exact = x / np.float64(255) if dtype == np.uint8 else x.astype(np.float64)
        np.testing.assert_allclose(dataset.mean, exact.mean(axis=(0, 1, 2)), rtol=1e-13)
        np.testing.assert_allclose(dataset.std, exact.std(axis=(0, 1, 2)), rtol=1e-13)


def test_a_part_is_what_take_returns_and_shares_the_images() -> None:
    rng = np.random.default_rng(0)
    whole = ImageSet(rng.random((9, 2, 3, 1), np.float32), labels(*range(9)), tuple("abcdefghi"))
    for rows in ([0, 3, 3, 8], np.arange(9)):
        part, taken = whole.part(rows).part([1, 0, 2]), whole.take(rows).take([1, 0, 2])
        assert (part.files, part.shape, part.dtype, len(part)) == (taken.files, taken.shape, taken.dtype, 3)
        np.testing.assert_array_equal(part.y, taken.y)
        np.testing.assert_array_equal(part.images(), taken.images())
        np.testing.assert_array_equal(part.stored([2, 0]), taken.x[[2, 0]])
        np.testing.assert_array_equal(part.take([1]).x, taken.take([1]).x)
        assert "x" not in vars(part), "nothing is copied until it is asked for"
        np.testing.assert_array_equal(part.x, taken.x)
    with pytest.raises(UsageError, match="at least one image"):
        whole.part([])
    with pytest.raises(FrozenInstanceError):
        part.y = whole.y  # type: ignore[misc]
