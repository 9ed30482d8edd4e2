"""What one training took is given back before the next one, in the same process."""

import gc
import pathlib
import weakref

import keras
import numpy as np
import tensorflow as tf

from racl_tf.memory import released_graphs, short_stacks
from racl_tf.search.log_normal_architecture import LogNormalArchitecture


def fit() -> weakref.ref:
    """Trains a model and returns the graph that its loss was computed in."""
    graphs = []

    def loss(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        graphs.append(weakref.ref(outputs.graph))
        return tf.reduce_mean(tf.square(outputs - labels))

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), loss)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    return graphs[-1]


def test_the_graph_of_a_training_ends_with_its_step() -> None:
    with released_graphs():
        graph = fit()
    assert graph() is None


def test_gradients_of_what_was_traced_before_are_kept() -> None:
    @tf.function
    def twice(x: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def double(x: tf.Tensor) -> tuple[tf.Tensor, object]:
            return 2 * x, lambda upstream: 3 * upstream

        return double(x)

    x = tf.constant(1.0)
    twice(x)
    with released_graphs():
        fit()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = twice(x)
    assert float(tape.gradient(y, x)) == 3


def test_a_draw_of_the_architecture_keeps_no_graph() -> None:
    architecture, graphs = LogNormalArchitecture(), []

    @tf.function
    def draw(seed: tf.Tensor) -> tf.Tensor:
        alpha, _ = architecture.sample(seed)
        graphs.append(weakref.ref(alpha.graph))
        return alpha

    draw(tf.constant([1, 2]))
    del draw
    gc.collect()
    assert [graph() for graph in graphs] == [None] * len(graphs)


def test_operations_remember_frames_of_the_user_alone() -> None:
    dense = keras.layers.Dense(1)
    dense.build((None, 2))

    @tf.function
    @short_stacks()
    def product(x: tf.Tensor) -> tf.Tensor:
        return dense(x)

    operations = product.get_concrete_function(tf.TensorSpec([3, 2])).graph.get_operations()
    (made,) = (operation for operation in operations if operation.type == "MatMul")
    files = {pathlib.Path(frame.filename) for frame in made.traceback}
    libraries = [pathlib.Path(module.__file__).parent for module in (tf, keras)]
    assert pathlib.Path(__file__) in files
    inside = {file.stem for file in files if any(library in file.parents for library in libraries)}
    assert inside <= {"ops"}  # which makes it


def test_stacks_are_whole_again_afterwards() -> None:
    @tf.function
    def double(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with short_stacks():
            y = x + x
        return y, x + x

    made, later = double.get_concrete_function(tf.TensorSpec([])).graph.get_operations()[1:3]
    assert [operation.type for operation in (made, later)] == ["AddV2", "AddV2"]
    assert len(later.traceback) > len(made.traceback) > 0
