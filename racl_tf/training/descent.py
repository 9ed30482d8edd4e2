"""Gradients of a loss and one descent step by them, the same on one device and on several replicas."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from racl_tf.distribution import all_reduce

Objective = Callable[[], tuple[tf.Tensor, Any]]
"""Returns a scalar loss, and whatever else is to be known of its computation."""


def gradients_of(objective: Objective, *groups: Sequence[keras.Variable]) -> tuple[list[list[tf.Tensor]], Any]:
    """Returns the gradients of a loss with respect to each group of variables, and what else the objective returns."""
    values = [[variable.value for variable in group] for group in groups]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        loss, details = objective()
    return tape.gradient(loss, values), details


def share_of_batch(loss: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns a loss weighted so that its mean over the replicas is that over all images of a batch.

    Replicas have equally many images but in the last batch of a data set, where some may have none at all.

    Arguments:
        loss: the mean over this replica's images.
        count: the number of these.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas == 1:
        return loss
    total = all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(count, loss.dtype))
    return tf.math.multiply_no_nan(loss, replicas * tf.cast(count, loss.dtype) / total)


def descend(
    optimizer: keras.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    *,
    clip_norm: float | None = None,
    weight_decay: float = 0.0,
    anchors: Sequence[tf.Tensor | None] | None = None,
) -> None:
    """Averages gradients over replicas, clips them by their global norm, adds weight decay, and applies them.

    Weight decay is coupled, as PyTorch's: weight_decay * (variable - anchor) is part of the
    gradient (of every variable, after clipping), where Keras's own `weight_decay` bypasses it.

    Arguments:
        optimizer: built on (at least) `variables`.
        gradients: each of the mean loss over this replica's part of the batch, weighted by `share_of_batch`.
        variables: what they are of.
        clip_norm: the largest global norm; None for no clipping.
        weight_decay: the coefficient of the L2 term's gradient, at least 0.
        anchors: what the decay pulls each variable to, None to leave it alone; all to 0 by default.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        gradients = all_reduce(tf.distribute.ReduceOp.MEAN, list(gradients))
    if clip_norm is not None:
        factor = clip_norm / tf.maximum(tf.linalg.global_norm(gradients), clip_norm)
        gradients = [factor * gradient for gradient in gradients]
    if weight_decay:
        values = [tf.convert_to_tensor(variable) for variable in variables]
        pulls = (
            values
            if anchors is None
            else [None if anchor is None else value - anchor for value, anchor in zip(values, anchors, strict=True)]
        )
        gradients = [
            gradient if pull is None else gradient + weight_decay * pull
            for gradient, pull in zip(gradients, pulls, strict=True)
        ]
    if replicas > 1:  # `apply` sums over replicas
        gradients = [gradient / replicas for gradient in gradients]
    optimizer.apply(gradients, variables)
