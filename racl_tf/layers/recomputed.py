"""A layer's output whose intermediate values are computed again in the backward pass rather than kept until then."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def recomputed(layer: keras.Layer, call: Callable[..., tf.Tensor], *inputs: tf.Tensor) -> tf.Tensor:
    """Returns `call(*inputs)`, with the same gradients, values and changes of state as without, and less memory.

    The backward pass takes one more forward pass (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).
    What the layer moves in training, such as moving statistics, moves once.

    Arguments:
        layer: whose variables `call` reads and writes; no others.
        call: from tensors to one tensor.
        inputs: floating-point tensors.
    """
    weights, state = layer.trainable_variables, layer.non_trainable_variables

    def forward(*tensors: tf.Tensor) -> tuple[tf.Tensor, dict[int, tf.Tensor]]:
        given = zip(weights, tensors[len(inputs) :], strict=True)
        with keras.StatelessScope(state_mapping=list(given)) as scope:  # which keeps what is assigned to itself
            outputs = call(*tensors[: len(inputs)])
        moved = ((index, scope.get_current_value(variable)) for index, variable in enumerate(state))
        return outputs, {index: value for index, value in moved if value is not None}

    moved: list[int] = []

    @tf.custom_gradient
    def run(*tensors: tf.Tensor) -> tuple[Any, Callable[..., Any]]:
        outputs, assigned = forward(*tensors)
        moved.extend(assigned)

        def gradient(upstream: tf.Tensor, *unused: tf.Tensor) -> list[tf.Tensor | None]:
            with tf.control_dependencies([upstream]):  # or both passes would be found to be the same, and kept
                again = [tf.identity(tensor) for tensor in tensors]
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs, _ = forward(*again)
            return tape.gradient(outputs, again, upstream)

        return [outputs, *assigned.values()], gradient

    result, *values = run(*inputs, *(tf.convert_to_tensor(variable.value) for variable in weights))
    for index, value in zip(moved, values, strict=True):
        state[index].assign(value)
    return result
