"""What every training step minimises and shows: cross-entropy, and loss and accuracy over the epoch."""

import keras
import tensorflow as tf

from racl_tf.distribution import all_reduce


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of logits (batch, classes) and integer labels (batch,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def running_means(*names: str) -> dict[str, keras.metrics.Mean]:
    """Returns the running means of an epoch by name, summed over replicas."""
    return {name: keras.metrics.Mean(name) for name in names}


def record(
    means: dict[str, keras.metrics.Mean], prefix: str, loss: tf.Tensor, logits: tf.Tensor, labels: tf.Tensor
) -> None:
    """Adds a batch to the means `prefix + "loss"` and `prefix + "accuracy"`; `loss` is the mean over its images.

    Of a replica that got no image of the last batch the loss counts nothing.
    """
    correct = tf.equal(tf.argmax(logits, -1, labels.dtype), labels)
    count = tf.cast(tf.shape(labels)[0], loss.dtype)
    means[f"{prefix}loss"].update_state(tf.math.multiply_no_nan(loss, tf.sign(count)), sample_weight=count)
    means[f"{prefix}accuracy"].update_state(tf.cast(correct, tf.float32))


def results(means: dict[str, keras.metrics.Mean], *names: str) -> dict[str, tf.Tensor]:
    """Returns means by name, within a step: over the images of all replicas, not the mean of their own means."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return {name: means[name].result() for name in names}
    sums = [[tf.convert_to_tensor(variable) for variable in (means[name].total, means[name].count)] for name in names]
    sums = all_reduce(tf.distribute.ReduceOp.SUM, sums)
    return {name: tf.math.divide_no_nan(total, count) for name, (total, count) in zip(names, sums, strict=True)}
