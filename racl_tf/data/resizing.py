"""Images of one size from images of any size."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

import numpy as np
import tensorflow as tf

from racl_tf.data.image_set import aligned
from racl_tf.errors import UsageError

ImageSize = int | Sequence[int]
_TOGETHER = 256  # images resized at once, at most
_BYTES = 2**26  # that these have, unless a single one has more


def height_and_width(image_size: ImageSize | None) -> tuple[int, int] | None:
    """Returns (height, width) in pixels for a side or a pair of sides.

    Raises:
        UsageError: the sides are not one or two positive integers.
    """
    if image_size is None:
        return None
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or min(sides) < 1:
        raise UsageError(f"Expected image_size as a positive integer or (height, width). Received {image_size}.")
    return sides


def resize(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Resizes images (..., H, W, C), antialiased bilinear, in their own dtype; unchanged if they have that size."""
    if size is None or images.shape[-3:-1] == size:
        return images
    resized = tf.image.resize(images, size, antialias=True).numpy()
    return np.rint(resized).astype(np.uint8) if images.dtype == np.uint8 else np.clip(resized, 0, 1)


def resize_each(images: Iterable[np.ndarray], size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    """Yields images (H, W, C) as `resize` makes them, neighbours of one shape together, which is a lot faster."""
    if size is None:
        yield from images
        return
    for shape, alike in groupby(images, key=lambda image: image.shape):
        together = min(_TOGETHER, max(1, _BYTES // max(1, math.prod(shape))))
        while group := list(islice(alike, together)):
            yield from resize(np.stack(group), size)


def of_one_shape(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields images as long as they have one shape.

    Raises:
        UsageError: the images differ in shape, or there are none.
    """
    first = None
    for image in images:
        first = image.shape if first is None else first
        if image.shape != first:
            raise UsageError(
                f"The images differ in shape: {first} and {image.shape}, for example. "
                "Pass image_size to resize all of them to one."
            )
        yield image
    if first is None:
        raise UsageError("Expected at least one image. Received none.")


def stack(images: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Stacks images of one shape, each of which is only held until it is in its place.

    Arguments:
        images: at most `count` of them.
        count: for how many there is room.

    Raises:
        UsageError: the images differ in shape, or there are none.
    """
    stacked, number = np.zeros(0), 0
    for image in of_one_shape(images):
        if not number:
            stacked = aligned((count, *image.shape), image.dtype)
        stacked[number] = image
        number += 1
    return stacked[:number]
