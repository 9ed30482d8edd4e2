"""Batch normalisation by the fused kernel, exact over replicas."""

from typing import Any

import keras
import tensorflow as tf

MOMENTUM = 0.9
EPSILON = 1e-5


@keras.saving.register_keras_serializable("racl_tf")
class BatchNorm(keras.layers.Layer):
    """Normalises each channel over the batch and the pixels (momentum 0.9, epsilon 1e-5).

    The fused kernel is 2 to 4 times as fast on CPUs as normalising from moments, which is
    what `keras.layers.BatchNormalization` does. Under a strategy with several replicas the
    statistics are those of the global batch, so that replicas compute what one device would.

    Arguments:
        affine: whether a trainable scale and offset follow.
    """

    def __init__(self, affine: bool = True, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the scale stays float32 under a mixed policy
        self.affine = affine

    def build(self, input_shape: tuple[Any, ...]) -> None:
        shape = (input_shape[-1],)
        statistics: dict[str, Any] = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        self.moving_mean = self.add_weight(shape, "zeros", name="moving_mean", **statistics)
        self.moving_variance = self.add_weight(shape, "ones", name="moving_variance", **statistics)
        if self.affine:
            self.gamma = self.add_weight(shape, "ones", name="gamma", autocast=False)
            self.beta = self.add_weight(shape, "zeros", name="beta", autocast=False)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False, scale: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the normalised inputs (..., channels).

        `scale`, shape (channels,), takes the place of the trainable scale of a layer that has
        none: the kernel applies it, and returns its gradient, at no further cost.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        if self.affine:
            scale, offset = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        else:
            offset = tf.zeros(self.moving_mean.shape)
            scale = tf.ones(self.moving_mean.shape) if scale is None else scale
        moving = [tf.convert_to_tensor(statistic) for statistic in (self.moving_mean, self.moving_variance)]
        if training and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            outputs, *statistics = _normalise_over_replicas(inputs, scale, offset)
            moved = [MOMENTUM * before + (1 - MOMENTUM) * now for before, now in zip(moving, statistics, strict=True)]
        else:
            outputs, *moved, _, _, _ = tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=scale,
                offset=offset,
                mean=moving[0],
                variance=moving[1],
                epsilon=EPSILON,
                exponential_avg_factor=1 - MOMENTUM,
                is_training=bool(training),
            )
        if training:
            for variable, value in zip((self.moving_mean, self.moving_variance), moved, strict=True):
                variable.assign(tf.stop_gradient(value))
        return outputs

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "affine": self.affine}


def _normalise_over_replicas(
    inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    context = tf.distribute.get_replica_context()

    def mean_over_replicas(values: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_mean(values, [0, 1, 2])
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean) if context is not None else mean

    images = tf.cast(inputs, tf.float32)
    mean = mean_over_replicas(images)
    variance = mean_over_replicas(tf.square(images - mean))
    count = tf.cast(tf.size(inputs[..., 0]) * tf.distribute.get_strategy().num_replicas_in_sync, tf.float32)
    outputs = (images - mean) * (scale * tf.math.rsqrt(variance + EPSILON)) + offset
    return tf.cast(outputs, inputs.dtype), mean, variance * count / tf.maximum(count - 1, 1)
