import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from racl_tf.data import NO_AUGMENTATION, Augmentation, augment, augmentation_for
from racl_tf.errors import UsageError

HEIGHT, WIDTH = 6, 5
IMAGES = np.random.default_rng(0).uniform(0.1, 1, (3, HEIGHT, WIDTH, 3)).astype(np.float32)

uniforms = npst.arrays(np.float32, (3, 5), elements=st.floats(0, 1, exclude_max=True, width=32))
augmentations = st.builds(Augmentation, crop=st.integers(0, 7), flip=st.booleans(), cutout=st.integers(0, 8))


def sliced(image, uniform, augmentation):
    """Crops, flips and cuts out a single image with slices."""
    crop_y, crop_x, flip, cutout_y, cutout_x = uniform
    pad, side = augmentation.crop, augmentation.cutout
    padded = np.zeros((HEIGHT + 2 * pad, WIDTH + 2 * pad, 3), np.float32)
    padded[pad : pad + HEIGHT, pad : pad + WIDTH] = image
    top, left = int(crop_y * (2 * pad + 1)), int(crop_x * (2 * pad + 1))
    image = padded[top : top + HEIGHT, left : left + WIDTH]
    image = (np.fliplr(image) if augmentation.flip and flip < 0.5 else image).copy()
    y, x = int(cutout_y * HEIGHT) - side // 2, int(cutout_x * WIDTH) - side // 2
    image[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = 0
    return image


@settings(deadline=None, max_examples=60)
@given(uniforms, augmentations)
def test_a_batch_equals_its_images_sliced_one_by_one(parameters, augmentation) -> None:
    expected = [sliced(image, uniform, augmentation) for image, uniform in zip(IMAGES, parameters, strict=True)]
    np.testing.assert_array_equal(augment(IMAGES, parameters, augmentation), expected)


@settings(deadline=None, max_examples=20)
@given(uniforms)
def test_no_augmentation_changes_nothing(parameters) -> None:
    np.testing.assert_array_equal(augment(IMAGES, parameters, NO_AUGMENTATION), IMAGES)


def test_the_middle_crop_is_the_image_and_the_first_is_moved_by_the_padding() -> None:
    middle_first_middle = np.full((3, 5), 0.5, np.float32)
    middle_first_middle[1, :2] = 0
    cropped = augment(IMAGES, middle_first_middle, Augmentation(crop=2, flip=False)).numpy()
    np.testing.assert_array_equal(cropped[[0, 2]], IMAGES[[0, 2]])
    np.testing.assert_array_equal(cropped[1, 2:, 2:], IMAGES[1, :-2, :-2])
    assert not cropped[1, :2].any()
    assert not cropped[1, :, :2].any()


def test_flipping_twice_is_the_identity() -> None:
    flip = Augmentation(crop=0, flip=True)
    once = augment(IMAGES, np.zeros((3, 5), np.float32), flip)
    assert not np.array_equal(once, IMAGES)
    np.testing.assert_array_equal(augment(once, np.zeros((3, 5), np.float32), flip), IMAGES)


@pytest.mark.parametrize(("centre", "cleared"), [(0.5, 4), (0.0, 2), (0.99, 3)])
def test_cutout_clears_a_square_that_the_borders_clip(centre, cleared) -> None:
    ones = np.ones((1, 8, 8, 1), np.float32)
    cut = augment(ones, np.full((1, 5), centre, np.float32), Augmentation(crop=0, flip=False, cutout=4)).numpy()
    assert (cut == 0).sum() == cleared**2


@pytest.mark.parametrize("sizes", [{"crop": -1}, {"cutout": -2}])
def test_negative_sizes_are_refused(sizes) -> None:
    with pytest.raises(UsageError, match=r"0 or more\. Received Augmentation"):
        Augmentation(**sizes)


@pytest.mark.parametrize(
    ("name", "crop", "flip"),
    [("digits", 1, False), ("mnist", 4, False), ("emnist/letters", 4, False), ("cifar10", 4, True)],
)
def test_characters_are_never_mirrored(name, crop, flip) -> None:
    assert augmentation_for(name) == Augmentation(crop=crop, flip=flip, cutout=0)
