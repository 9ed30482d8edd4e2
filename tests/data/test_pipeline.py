import hashlib
import itertools
import os
import subprocess
import sys
from itertools import islice

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.data import Augmentation, ImageSet, augment, batches, search_batches, steps_per_epoch
from racl_tf.data.image_set import aligned
from racl_tf.data.pipeline import _shared, validation_batches
from racl_tf.distribution import ALL, Share
from racl_tf.errors import UsageError
from racl_tf.seeding import fold

AUGMENTATION = Augmentation(crop=1, flip=True, cutout=2)


def noise(count=22, seed=0):
    """Random images whose labels are their own numbers."""
    x = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return ImageSet(x, np.arange(count, dtype=np.int32))


def first(stream, count):
    return [tf.nest.map_structure(np.array, element) for element in islice(stream, count)]


def assert_same(elements, others) -> None:
    assert len(elements) == len(others)
    for one, other in zip(tf.nest.flatten(elements), tf.nest.flatten(others), strict=True):
        np.testing.assert_array_equal(one, other)


def digest(elements):
    return hashlib.sha256(b"".join(np.array(array).tobytes() for array in tf.nest.flatten(elements))).hexdigest()


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_stream_from_a_later_epoch_continues_the_stream_from_the_start(epochs) -> None:
    def stream(first_epoch):
        return batches(noise(), 4, seed=3, augmentation=AUGMENTATION, first_epoch=first_epoch)

    steps = steps_per_epoch(noise(), 4)
    assert_same(first(stream(0), (epochs + 2) * steps)[epochs * steps :], first(stream(epochs), 2 * steps))


@pytest.mark.parametrize("taken", [1, 2])
def test_shares_side_by_side_are_the_whole_batches(taken) -> None:
    """Of training, from within an epoch, and of a validation whose last batch has no image for the last parts."""
    shares = [Share(start, taken, 4) for start in range(0, 4, taken)]

    def stream(share):
        return batches(noise(50), 8, seed=3, augmentation=AUGMENTATION, first_epoch=1, first_step=4, share=share)

    def side_by_side(streams):
        parts = [[*islice(zip(*[iter(each)] * taken, strict=True), 6)] for each in streams]
        return [
            tuple(np.concatenate(arrays) for arrays in zip(*itertools.chain(*step), strict=True))
            for step in zip(*parts, strict=True)
        ]

    assert_same(side_by_side(map(stream, shares)), first(stream(ALL), 6))
    validations = [validation_batches(noise(43), 8, share=share) for share in shares]
    assert_same(side_by_side(validations), first(validation_batches(noise(43), 8), 6))


def test_a_search_resumes_exactly_where_the_halves_differ_in_length() -> None:
    def stream(first_epoch):
        return search_batches(noise(11), noise(18, 1), 4, seed=3, augmentation=AUGMENTATION, first_epoch=first_epoch)

    assert_same(first(stream(0), 11)[2 * 3 :], first(stream(3), 5))


def test_an_epoch_holds_every_image_once_up_to_the_remainder_and_epochs_differ() -> None:
    orders = [np.concatenate([y for _, y in first(batches(noise(), 4, seed=0, first_epoch=e), 5)]) for e in (0, 1)]
    for order in orders:
        assert len(set(order.tolist())) == 20
    assert not np.array_equal(orders[0], orders[1])


def test_without_shuffling_and_augmentation_the_images_come_as_they_are() -> None:
    data = noise()
    elements = first(batches(data, 5, seed=0, shuffle=False), 8)
    assert np.concatenate([y for _, y in elements]).tolist() == 2 * list(range(20))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in elements[:4]]), data.images(range(20)))


def test_the_augmentation_of_an_image_depends_on_seed_epoch_and_image_not_on_its_batch() -> None:
    data = noise()
    parameters = tf.random.stateless_uniform([len(data), 5], fold(5, "data/augmentation", 2))
    expected = augment(data.images(), parameters, AUGMENTATION).numpy()
    for size in (4, 7):
        for x, y in first(batches(data, size, seed=5, augmentation=AUGMENTATION, first_epoch=2), 3):
            np.testing.assert_array_equal(x, expected[y])


def test_seeds_differ() -> None:
    one, other = (first(batches(noise(), 4, seed=seed), 5) for seed in (0, 1))
    assert digest(one) != digest(other)


def test_float_images_pass_unchanged() -> None:
    data = ImageSet(noise().images(), noise().y)
    assert_same(first(batches(data, 4, seed=0), 5), first(batches(noise(), 4, seed=0), 5))


def test_search_pairs_independent_orders_of_the_two_sets() -> None:
    data = noise()
    elements = first(search_batches(data, data, 11, seed=0), 2)
    weights, architecture = (np.concatenate([pair[side][1] for pair in elements]) for side in (0, 1))
    assert sorted(weights) == sorted(architecture) == list(range(22))
    assert not np.array_equal(weights, architecture)


def test_the_stream_has_static_shapes_no_end_and_no_images_in_its_graph() -> None:
    data = ImageSet(np.zeros((4096, 16, 16, 1), np.uint8), np.zeros(4096, np.int32))
    stream = batches(data, 8, seed=0)
    assert stream.element_spec == (tf.TensorSpec((8, 16, 16, 1), tf.float32), tf.TensorSpec((8,), tf.int32))
    assert stream.cardinality() == tf.data.INFINITE_CARDINALITY
    graph = tf.function(lambda: next(iter(batches(data, 8, seed=0)))).get_concrete_function().graph
    assert graph.as_graph_def().ByteSize() < data.x.nbytes


@pytest.mark.parametrize("batch_size", [0, 23])
def test_batch_sizes_that_no_epoch_fills_are_refused(batch_size) -> None:
    with pytest.raises(UsageError, match=f"batch size of 1 to 22, .* Received {batch_size}"):
        batches(noise(), batch_size, seed=0)


def test_keras_fits_on_it() -> None:
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(22)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer="sgd")
    history = model.fit(batches(noise(), 4, seed=0), steps_per_epoch=5, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def distributed_digest():
    """The digest of the first batches that two replicas receive, put together again."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    stream = search_batches(noise(), noise(18, 1), 4, seed=9, augmentation=AUGMENTATION)
    distributed = islice(strategy.experimental_distribute_dataset(stream), 12)
    return digest(
        [
            np.concatenate(strategy.experimental_local_results(array))
            for element in distributed
            for pair in element
            for array in pair
        ]
    )


def test_another_process_with_two_replicas_receives_the_same_batches() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    here = search_batches(noise(), noise(18, 1), 4, seed=9, augmentation=AUGMENTATION)
    assert output.split()[-1] == digest(first(here, 12))


if __name__ == "__main__":
    print(distributed_digest())


@pytest.mark.parametrize("offset", [0, 16, 1])
def test_streams_share_the_images_and_are_right_wherever_these_lie(offset) -> None:
    """Memory that TensorFlow cannot share is copied, once for all parts of a set."""
    memory = aligned((offset + 20 * 12,), np.dtype(np.uint8))
    memory[:] = np.random.default_rng(0).integers(0, 256, memory.shape)
    whole = ImageSet(memory[offset:].reshape(20, 2, 2, 3), np.arange(20, dtype=np.int32))
    part = whole.part(np.arange(3, 17))
    for data in (whole, part, part.take(np.arange(14))):
        x, y = next(iter(batches(data, 5, seed=0)))
        np.testing.assert_array_equal(x, whole.images(y.numpy()))
    shares = [np.shares_memory(np.from_dlpack(_shared(data.root)), memory) for data in (whole, part)]
    assert shares == [offset == 0] * 2
    assert _shared(whole) is _shared(part.root)
