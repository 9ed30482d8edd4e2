"""Random crop, flip and cutout as one pure function of the images and of uniform numbers."""

from dataclasses import dataclass

import tensorflow as tf

from racl_tf.errors import UsageError

PARAMETERS = 5
_CHARACTERS = ("digits", "mnist", "emnist", "kmnist", "svhn_cropped")


@dataclass(frozen=True)
class Augmentation:
    """Which random changes training images go through.

    Arguments:
        crop: pixels of zero padding on every side before a random crop of the original size; 0 for none.
        flip: whether half of the images are mirrored left to right.
        cutout: side in pixels of a square set to 0 around a random pixel, clipped at the borders; 0 for none.

    Raises:
        UsageError: `crop` or `cutout` is negative.
    """

    crop: int = 4
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.crop < 0 or self.cutout < 0:
            raise UsageError(f"Expected crop and cutout in pixels, 0 or more. Received {self}.")


NO_AUGMENTATION = Augmentation(crop=0, flip=False, cutout=0)


def augmentation_for(dataset_name: str) -> Augmentation:
    """Returns the usual augmentation of a dataset: characters are not mirrored, 8x8 digits move by one pixel.

    >>> augmentation_for("cifar10")
    Augmentation(crop=4, flip=True, cutout=0)
    """
    return Augmentation(crop=1 if dataset_name == "digits" else 4, flip=dataset_name.split("/")[0] not in _CHARACTERS)


def augment(images: tf.Tensor, parameters: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """Crops, flips and cuts out every image as its row of `parameters` says.

    Arguments:
        images: float32 of shape (B, H, W, C) with static H and W.
        parameters: uniform numbers in [0, 1) of shape (B, 5): crop y, crop x, flip, cutout y, cutout x.
        augmentation: what to apply.

    Returns:
        The changed images, of the same shape.

    Differences from DARTS: an odd `cutout` covers its full side, and 0 is black, as images are
    normalised inside the network.
    """
    height, width = images.shape[1:3]
    pad = augmentation.crop
    crop_y, crop_x, flip, cutout_y, cutout_x = tf.unstack(parameters, axis=1)
    rows = _scaled(crop_y, 2 * pad + 1) + tf.range(height)
    columns = _scaled(crop_x, 2 * pad + 1) + tf.range(width)
    if augmentation.flip:
        columns = tf.where(flip[:, None] < 0.5, columns[:, ::-1], columns)
    padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    cropped = tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    if not augmentation.cutout:
        return cropped
    in_rows = _covered(cutout_y, height, augmentation.cutout)
    in_columns = _covered(cutout_x, width, augmentation.cutout)
    return tf.where((in_rows[:, :, None] & in_columns[:, None, :])[..., None], 0.0, cropped)


def _scaled(uniform: tf.Tensor, count: int) -> tf.Tensor:
    """Returns integers in 0..count - 1 as a column."""
    return tf.cast(uniform[:, None] * count, tf.int32)


def _covered(uniform: tf.Tensor, size: int, side: int) -> tf.Tensor:
    """Marks the `side` positions of 0..size - 1 around a random centre."""
    offset = tf.range(size) - (_scaled(uniform, size) - side // 2)
    return (offset >= 0) & (offset < side)
