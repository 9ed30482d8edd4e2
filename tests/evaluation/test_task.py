"""What is known of a classifier and its images before any attack."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.data import ImageSet, load_dataset
from racl_tf.errors import UsageError
from racl_tf.evaluation.task import as_images, filled, prepare_task

IMAGES = np.array([[0.1, 0.9, 0.5], [0.8, 0.2, 0.4], [0.3, 0.3, 0.2]], np.float32)


def identity() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="identity")])


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_classes_are_ranked_by_their_logits_equal_ones_in_order(batch_size: int) -> None:
    task = prepare_task(identity(), (IMAGES, np.array([1, 0, 2])), batch_size=batch_size)
    assert task.ranked.tolist() == [[1, 2, 0], [0, 2, 1], [0, 1, 2]]
    assert task.predictions.tolist() == [1, 0, 0]
    assert task.correct.tolist() == [True, True, False]
    assert (task.classes, task.batch_size) == (3, min(batch_size, 3))
    np.testing.assert_array_equal(task.images(np.array([2, 0])), IMAGES[[2, 0]])


def test_images_of_a_set_are_taken_by_index() -> None:
    pixels = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 1)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    task = prepare_task(model, ImageSet(pixels, np.array([0, 1], np.int32)))
    np.testing.assert_allclose(task.images(np.array([1])), pixels[1:] / np.float32(255))


def test_the_last_batch_is_filled_up_by_repetition() -> None:
    batches = [(rows.tolist(), count) for rows, count in filled(np.array([4, 5, 6, 7, 8]), 3)]
    assert batches == [([4, 5, 6], 3), ([7, 8, 7], 2)]


def test_what_cannot_be_attacked_is_refused() -> None:
    labels = np.array([1, 0, 2])
    with pytest.raises(UsageError, match=r"`batch_size`, expected at least 1\. Received: 0"):
        prepare_task(identity(), (IMAGES, labels), batch_size=0)
    logarithm = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: keras.ops.log(x - 0.15))])
    with pytest.raises(UsageError, match="not finite for 1 of 3 clean images"):
        prepare_task(logarithm, (IMAGES[::-1].copy(), labels))


def test_images_come_in_any_usual_form() -> None:
    labels = np.array([1, 0, 2])
    one_by_one = tf.data.Dataset.from_tensor_slices((IMAGES, labels))
    for data in ([IMAGES, labels], one_by_one, one_by_one.batch(2)):
        found = as_images(data)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found[0], IMAGES)  # type: ignore[index]
        np.testing.assert_array_equal(found[1], labels)  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "received"),
    [
        ((IMAGES, [0], [0]), "Received: 3 of them"),
        (IMAGES, "Received: ndarray"),
        ({"x": IMAGES}, "Received: dict"),
        (tf.data.Dataset.from_tensor_slices(IMAGES), "Received: _TensorSliceDataset"),
        (load_dataset("digits"), r"Received: Dataset\. Take a part of it: \.train or \.test"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_data_is_refused(data: object, received: str) -> None:
    with pytest.raises(UsageError, match=rf"a pair of images and labels.*{received}"):
        prepare_task(identity(), data)  # type: ignore[arg-type]
