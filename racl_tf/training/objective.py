"""What every training step minimises and shows: cross-entropy, and loss and accuracy over the epoch."""

import keras
import tensorflow as tf


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of logits (batch, classes) and integer labels (batch,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def running_means(*names: str) -> dict[str, keras.metrics.Mean]:
    """Returns the running means of an epoch by name, summed over replicas."""
    return {name: keras.metrics.Mean(name) for name in names}


def record(
    means: dict[str, keras.metrics.Mean], prefix: str, loss: tf.Tensor, logits: tf.Tensor, labels: tf.Tensor
) -> None:
    """Adds a batch to the means `prefix + "loss"` and `prefix + "accuracy"`; `loss` is the mean over its images."""
    correct = tf.equal(tf.argmax(logits, -1, labels.dtype), labels)
    means[f"{prefix}loss"].update_state(loss, sample_weight=tf.shape(labels)[0])
    means[f"{prefix}accuracy"].update_state(tf.cast(correct, tf.float32))
