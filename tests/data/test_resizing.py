import numpy as np
import pytest

from racl_tf.data.resizing import height_and_width, resize, resize_each, stack
from racl_tf.errors import UsageError


def test_halving_averages_and_constants_stay() -> None:
    constant = np.full((2, 4, 6, 3), 200, np.uint8)
    np.testing.assert_array_equal(resize(constant, (7, 3)), np.full((2, 7, 3, 3), 200, np.uint8))
    columns = np.tile(np.array([0, 0, 1, 1], np.float32)[:, None], (4, 1, 1))
    halved = resize(columns, (4, 2))
    np.testing.assert_allclose(halved[..., 0].sum(axis=1), 1, atol=1e-6)
    assert (halved[:, 0] < halved[:, 1]).all()


def test_images_of_the_size_are_left_alone() -> None:
    images = np.zeros((2, 4, 6, 3), np.uint8)
    assert resize(images, (4, 6)) is images
    assert resize(images, None) is images


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resizing_keeps_dtype_and_range(dtype) -> None:
    largest = 255 if dtype == np.uint8 else 1
    images = (np.random.default_rng(0).integers(0, 2, (3, 9, 7, 1)) * largest).astype(dtype)
    resized = resize(images, (20, 5))
    assert resized.dtype == dtype
    assert resized.min() >= 0
    assert resized.max() <= largest


def test_sides() -> None:
    assert (height_and_width(None), height_and_width(8), height_and_width([8, 9])) == (None, (8, 8), (8, 9))


@pytest.mark.parametrize("image_size", [0, -3, (4, 0), (1, 2, 3)])
def test_impossible_sizes_are_refused(image_size) -> None:
    with pytest.raises(UsageError, match="image_size as a positive integer or"):
        height_and_width(image_size)


def test_images_of_several_shapes_need_a_size() -> None:
    with pytest.raises(UsageError, match=r"\(2, 2, 1\) and \(2, 3, 1\).*Pass image_size"):
        stack([np.zeros((2, 2, 1)), np.zeros((2, 2, 1)), np.zeros((2, 3, 1))], 3)


def test_neighbours_of_one_shape_are_resized_together() -> None:
    """As one by one, whatever shapes follow one another, in order."""
    random = np.random.default_rng(0)
    shapes = [(8, 8, 3)] * 300 + [(6, 9, 3), (8, 8, 3), (4, 4, 3), (4, 4, 3)]
    images = [random.integers(0, 256, shape, np.uint8) for shape in shapes]
    together = list(resize_each(iter(images), (4, 4)))
    for ours, image in zip(together, images, strict=True):
        np.testing.assert_array_equal(ours, resize(image, (4, 4)))
