"""A batch in parts makes the step of the whole batch, where normalisation sees no difference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf import AdversarialTrainer, ConfidenceConstraint, RACLSearch, Supernet
from racl_tf.attacks import pgd
from racl_tf.errors import UsageError
from racl_tf.training.descent import accumulated_gradients


def images(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((count, 8, 8, 1), np.float32), rng.integers(0, 10, count).astype(np.int32)


def values(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]


@pytest.mark.parametrize(("replicas", "count", "steps"), [(1, 7, 3), (1, 4, 4), (2, 8, 2)])
def test_training_without_normalisation_is_the_same(
    replicas: int, count: int, steps: int, two_replicas: tf.distribute.Strategy
) -> None:
    """With parts that differ in size; the attack's noise is each image's own."""
    batch, found = images(count), []
    for strategy, parts in ((tf.distribute.get_strategy(), 1), (two_replicas, steps)):
        with strategy.scope() if replicas == 2 else tf.distribute.get_strategy().scope():
            keras.utils.set_random_seed(1)
            network = keras.Sequential(
                [
                    keras.Input((8, 8, 1)),
                    keras.layers.Conv2D(4, 3, activation="elu"),
                    keras.layers.Flatten(),
                    keras.layers.Dense(10),
                ]
            )
            trainer = AdversarialTrainer(network, pgd(0.1, 0.05, 2) if replicas == 1 else None)
            trainer.compile(keras.optimizers.SGD(0.5), accumulation_steps=parts, clip_norm=None)
        history = trainer.fit(tf.data.Dataset.from_tensors(batch).unbatch().batch(count).repeat(2), verbose=0)
        found.append((values(trainer), history.history))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
    for name, expected in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("update", ["proximal", "printed"])
def test_a_search_on_equal_parts_is_the_same(update: str) -> None:
    """The statistics of a part are those of the whole where all parts are the same images."""
    halves = images(3), images(3, seed=1)
    data = tf.nest.map_structure(lambda x: np.concatenate([x, x]), halves)
    found = []
    for steps in (1, 2):
        supernet = Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1))
        search = RACLSearch(supernet, constraint=ConfidenceConstraint(update=update, reduction=5.0))
        search.compile(accumulation_steps=steps)
        logs = search.fit(tf.data.Dataset.from_tensors(data), verbose=0).history
        found.append((values(search), logs))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
    for name, expected in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_gradients_sum_up_and_parts_run_one_after_the_other() -> None:
    variable = keras.Variable([1.0, 2.0], dtype="float32")
    x = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    order: list[int] = []

    def objective(rows: tf.Tensor) -> tuple[tf.Tensor, int]:
        order.append(rows.shape[0])
        return tf.reduce_sum(variable.value * rows), len(order)

    ((gradient,),), found = accumulated_gradients(objective, [x], 2, [variable])
    np.testing.assert_array_equal(gradient, [9.0, 12.0])
    assert (order, found) == ([1, 2], [1, 2])


def test_parts_that_cannot_be() -> None:
    search = RACLSearch(Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1)), second_order=True)
    with pytest.raises(UsageError, match=r"second_order.*accumulation_steps=2"):
        search.compile(accumulation_steps=2)
    with pytest.raises(UsageError, match=r"positive integer. Received: accumulation_steps=0"):
        search.compile(accumulation_steps=0)
