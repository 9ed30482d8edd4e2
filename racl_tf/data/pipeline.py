"""Endless batches whose order and augmentation are functions of (seed, epoch, image), so a resumed run repeats them."""

import weakref

import numpy as np
import tensorflow as tf

from racl_tf.data.augmentation import NO_AUGMENTATION, PARAMETERS, Augmentation, augment
from racl_tf.data.image_set import PIXEL_SCALE, ImageSet, aligned, is_aligned
from racl_tf.distribution import ALL, Share
from racl_tf.errors import UsageError
from racl_tf.seeding import derive, fold


def steps_per_epoch(data: ImageSet, batch_size: int) -> int:
    """Returns the number of full batches in one epoch.

    Raises:
        UsageError: `batch_size` is not in 1..N.
    """
    if not 1 <= batch_size <= len(data):
        raise UsageError(
            f"Expected a batch size of 1 to {len(data)}, the number of images. Received {batch_size}: "
            "lower it or use more images."
        )
    return len(data) // batch_size


def batches(
    data: ImageSet,
    batch_size: int,
    *,
    seed: int,
    augmentation: Augmentation | None = None,
    shuffle: bool = True,
    first_epoch: int = 0,
    first_step: int = 0,
    share: Share = ALL,
) -> tf.data.Dataset:
    """Returns an endless stream of batches: x float32 in [0, 1] of shape (B, H, W, C) and y int32 of shape (B,).

    The stream from epoch k on equals the stream from epoch 0 after k epochs. The images that fill no
    batch at the end of an epoch are left out of that epoch.

    Arguments:
        data: the images, kept in their own dtype and converted batch by batch; the stream shares their memory.
        batch_size: the images of one batch, over all replicas.
        seed: the seed that order and augmentation are folded from.
        augmentation: the random changes; none by default.
        shuffle: whether each epoch has its own order; otherwise that of `data`.
        first_epoch: the epoch to start with.
        first_step: the step of that epoch to start with.
        share: the parts of each batch that are returned, one after the other in its place.

    Raises:
        UsageError: `batch_size` is not in 1..N.
    """
    first = first_epoch * steps_per_epoch(data, batch_size) + first_step
    return _stream(data, batch_size, seed, augmentation or NO_AUGMENTATION, shuffle, first, share)


def search_batches(
    weights: ImageSet,
    architecture: ImageSet,
    batch_size: int,
    *,
    seed: int,
    augmentation: Augmentation | None = None,
    first_epoch: int = 0,
    first_step: int = 0,
    share: Share = ALL,
) -> tf.data.Dataset:
    """Returns an endless stream of ((x_w, y_w), (x_a, y_a)), shuffled independently.

    An epoch is one pass over `weights`; where the sets differ in length, the passes over
    `architecture` simply follow one another.

    Arguments:
        weights: the images that train the weights.
        architecture: the images that train the architecture.
        batch_size: as in `batches`, for both.
        seed: likewise.
        augmentation: likewise.
        first_epoch: likewise.
        first_step: likewise.
        share: likewise.

    Raises:
        UsageError: a set has fewer images than one batch.
    """
    first = first_epoch * steps_per_epoch(weights, batch_size) + first_step
    return tf.data.Dataset.zip(
        tuple(
            _stream(data, batch_size, derive(seed, f"data/{role}"), augmentation or NO_AUGMENTATION, True, first, share)
            for role, data in (("weights", weights), ("architecture", architecture))
        )
    )


def validation_batches(data: ImageSet, batch_size: int, *, share: Share = ALL) -> tf.data.Dataset:
    """Returns the batches of one pass in the order of `data`, as `batches` has them but for a last one of fewer images.

    Arguments:
        data: the images.
        batch_size: the images of one batch, over all replicas.
        share: the parts of each batch that are returned, one after the other in its place. Those of the last one may
            have fewer images, or none, since all replicas take as many steps.
    """
    whole = tf.data.Dataset.from_tensor_slices((data.images(), data.y)).batch(batch_size)
    if share == ALL:
        return whole
    size, (first, taken, _) = batch_size // share.parts, share

    def part(number: tf.Tensor | int, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        return tuple(values[number * size : (number + 1) * size] for values in batch)

    if taken == 1:
        return whole.map(lambda *batch: part(first, batch))
    numbers = tf.data.Dataset.range(first, first + taken)
    return whole.flat_map(lambda *batch: numbers.map(lambda number: part(number, batch)))


def _stream(
    data: ImageSet, batch_size: int, seed: int, augmentation: Augmentation, shuffle: bool, first_step: int, share: Share
) -> tf.data.Dataset:
    count, steps = len(data), steps_per_epoch(data, batch_size)
    with tf.init_scope(), tf.device("CPU"):  # captured from outside of any graph, whose constants end at 2 GB
        images, rows, labels = _shared(data.root), tf.constant(data.rows), tf.constant(data.y)

    def plan(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.range(count)
        if shuffle:
            order = tf.random.experimental.stateless_shuffle(order, fold(seed, "data/order", epoch))
        parameters = tf.random.stateless_uniform([count, PARAMETERS], fold(seed, "data/augmentation", epoch))
        chosen = tf.reshape(order[: steps * batch_size], [steps, share.parts, batch_size // share.parts])
        chosen = tf.reshape(chosen[:, share.first : share.first + share.taken], [-1, batch_size // share.parts])
        return tf.data.Dataset.from_tensor_slices((chosen, tf.gather(parameters, chosen)))

    def load(chosen: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.gather(images, tf.gather(rows, chosen))
        if x.dtype == tf.uint8:
            x = tf.cast(x, tf.float32) * PIXEL_SCALE
        return augment(x, parameters, augmentation), tf.gather(labels, chosen)

    first_epoch, skipped = divmod(first_step, steps)
    plans = tf.data.Dataset.counter(first_epoch).flat_map(plan).skip(skipped * share.taken)
    stream = plans.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False  # which copy all images to look at the graph
    return stream.apply(endless).prefetch(tf.data.AUTOTUNE).with_options(options)


_SHARED: weakref.WeakKeyDictionary[ImageSet, tf.Tensor] = weakref.WeakKeyDictionary()


def _shared(data: ImageSet) -> tf.Tensor:
    """Returns all images as a tensor in the same memory, or in one copy for all parts of them where that cannot be.

    Of a mapped file that memory is the file's, of which pages are read as batches need them.

    `tf.constant` makes two copies.
    """
    if data not in _SHARED:
        x = data.x
        if not is_aligned(x):
            x = aligned(x.shape, x.dtype)
            x[...] = data.x
        _SHARED[data] = tf.experimental.dlpack.from_dlpack(np.asarray(_Shareable(x)).__dlpack__())
    return _SHARED[data]


class _Shareable:
    """An array as one that may be written, since no other is shared; TensorFlow writes into no tensor that is held.

    The pages of a mapped file stay read-only: who writes there ends the process rather than change the file.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.x = x  # which has to live as long
        self.__array_interface__ = {**x.__array_interface__, "data": (x.ctypes.data, False)}
