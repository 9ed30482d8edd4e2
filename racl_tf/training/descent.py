"""Gradients of a loss and one descent step by them, the same on one device and on several replicas."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf

from racl_tf.distribution import all_reduce

Objective = Callable[[], tuple[tf.Tensor, Any]]
"""Returns a scalar loss, and whatever else is to be known of its computation."""


def gradients_of(
    objective: Objective, *groups: Sequence[keras.Variable | tf.Tensor]
) -> tuple[list[list[tf.Tensor]], Any]:
    """Returns the gradients of a loss with respect to each group of variables, and what else the objective returns.

    Those of variables that the loss does not depend on are zeros. A group may hold tensors instead.
    """
    values = [[one.value if isinstance(one, keras.Variable) else one for one in group] for group in groups]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        loss, details = objective()
    return tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO), details


def accumulated_gradients(
    objective: Callable[..., tuple[tf.Tensor, Any]],
    batch: Sequence[tf.Tensor],
    steps: int,
    *groups: Sequence[keras.Variable],
    of_images: bool = False,
) -> tuple[list[list[tf.Tensor]], list[Any]]:
    """Returns the gradients of a batch's loss, summed over parts of it of which one is in memory at a time.

    Arguments:
        objective: as in `gradients_of`, but of rows of the batch: its losses of all parts sum up to the loss.
        batch: tensors that begin with the images' axis.
        steps: the number of parts, as equal as can be; one image each at least.
        groups: of variables.
        of_images: whether the gradient with respect to the batch's first tensor is wanted too.

    Returns:
        The gradients by group, with that of the images as a last group if it is wanted, and a list of what else the
        objective returned, part by part.
    """

    def gradients_at(rows: Sequence[tf.Tensor]) -> tuple[list[list[tf.Tensor]], Any]:
        return gradients_of(lambda: objective(*rows), *groups, *([rows[:1]] if of_images else []))

    if steps == 1:
        gradients, details = gradients_at(batch)
        return gradients, [details]
    count = tf.shape(batch[0])[0]
    edges = [count * step // steps for step in range(steps + 1)]
    totals: list[tf.Tensor] = []
    images, found = [], []
    for first, last in pairwise(edges):
        with tf.control_dependencies(totals):  # parts run one after the other
            rows = [tf.identity(tensor[first:last]) for tensor in batch]
        gradients, details = gradients_at(rows)
        if of_images:
            images += gradients.pop()
        flat = tf.nest.flatten(gradients)
        totals = [total + gradient for total, gradient in zip(totals, flat, strict=True)] if totals else flat
        found.append(details)
    gradients = tf.nest.pack_sequence_as(gradients, totals)
    return [*gradients, [tf.concat(images, axis=0)]] if of_images else gradients, found


def share_of_batch(loss: tf.Tensor, count: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    """Returns a loss weighted so that its sum over parts and mean over replicas is the mean over all of a batch.

    Replicas have equally many images but in the last batch of a data set, where some may have none at all.

    Arguments:
        loss: the mean over the images of a part of this replica's batch.
        count: the number of these.
        whole: the number of all images of this replica's batch.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    total = tf.cast(whole, loss.dtype)
    if replicas > 1:
        total = all_reduce(tf.distribute.ReduceOp.SUM, total)
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
