"""Batch normalisation by the fused kernel, exact over replicas."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from racl_tf.distribution import all_reduce, gather_over_replicas

MOMENTUM = 0.9
EPSILON = 1e-5
_PIXELS = [0, 1, 2]  # the axes that statistics are over
Affine = bool | Literal["fixed"]


@keras.saving.register_keras_serializable("racl_tf")
class BatchNorm(keras.layers.Layer):
    """Normalises each channel over the batch and the pixels (momentum 0.9, epsilon 1e-5).

    The fused kernel is 2 to 4 times as fast on CPUs as normalising from moments, which is
    what `keras.layers.BatchNormalization` does. Under a strategy with several replicas the
    statistics are those of the global batch, so that replicas compute what one device would.

    Arguments:
        affine: whether a scale and offset follow: True, trainable ones; "fixed", ones that stay 1 and 0; False, none.
    """

    def __init__(self, affine: Affine = True, **kwargs: Any) -> None:
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
        if self.affine == "fixed":  # of a file's variables the trainable ones come first: these keep their places
            self.gamma.trainable = self.beta.trainable = False
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the normalised inputs (..., channels)."""
        inputs = tf.cast(inputs, self.compute_dtype)
        factors = [self.gamma, self.beta] if self.affine else [tf.ones(inputs.shape[-1:]), tf.zeros(inputs.shape[-1:])]
        scale, offset = map(tf.convert_to_tensor, factors)
        moving = (self.moving_mean, self.moving_variance)
        if not training:
            return normalize(inputs, scale, offset, *map(tf.convert_to_tensor, moving))
        ((outputs, *statistics),) = normalize_by_batch([inputs], [scale], [offset])
        follow(moving, statistics)
        return outputs

    def factors(self) -> np.ndarray:
        """Returns by how much each channel is stretched at inference (channels,), float64."""
        factors = inverse_deviations(self.moving_variance)
        return factors * np.abs(np.asarray(self.gamma, np.float64)) if self.affine else factors

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "affine": self.affine}


class StackedNorms:
    """One pass through several batch normalisations whose moving statistics lie side by side in two variables.

    They are read once and, by `update`, written once for all, which keeps graphs small; what is normalised together has
    its statistics sent to the other replicas together.

    Arguments:
        moving: the variables of the means and of the variances, (sum of channels,).
        channels: of each normalisation, in order.
        training: whether to normalize by the statistics of the batch and to follow them.
    """

    def __init__(self, moving: Sequence[keras.Variable], channels: Sequence[int], *, training: bool) -> None:
        self._moving = moving
        self._batch: list[Sequence[tf.Tensor]] = [()] * len(channels)
        self._training = training
        # Constants are made once: every one of them costs time to trace and to optimise.
        self._ones, self._zeros = cache(tf.ones), cache(tf.zeros)
        if not training:
            split = (tf.split(tf.convert_to_tensor(variable), channels) for variable in moving)
            self._batch = list(zip(*split, strict=True))

    def __call__(
        self, images: Mapping[int, tf.Tensor], scales: Mapping[int, tf.Tensor] = MappingProxyType({})
    ) -> dict[int, tf.Tensor]:
        """Returns images normalised by the statistics at each index, times a scale (channels,) where there is one.

        The kernel applies the scale, and returns its gradient, at no further cost.
        """
        shapes = {index: (each.shape[-1],) for index, each in images.items()}
        factors = [scales[index] if index in scales else self._ones(shape) for index, shape in shapes.items()]
        offsets = [self._zeros(shape) for shape in shapes.values()]
        if not self._training:
            each = zip(images.items(), factors, offsets, strict=True)
            return {index: normalize(x, scale, offset, *self._batch[index]) for (index, x), scale, offset in each}
        normalized = normalize_by_batch(list(images.values()), factors, offsets, self._zeros((0,)))
        outputs = {}
        for index, (outputs[index], *statistics) in zip(images, normalized, strict=True):
            self._batch[index] = statistics
        return outputs

    def update(self) -> None:
        """Moves the moving statistics towards the batch's, once all normalisations have been passed in training."""
        if self._training:
            follow(self._moving, [tf.concat(statistic, 0) for statistic in zip(*self._batch, strict=True)])


def inverse_deviations(variance: keras.Variable) -> np.ndarray:
    """Returns 1 / sqrt(variance + epsilon) (channels,), float64."""
    return 1 / np.sqrt(np.asarray(variance, np.float64) + EPSILON)


def follow(moving: Sequence[keras.Variable], statistics: Sequence[tf.Tensor]) -> None:
    """Moves moving statistics a tenth of the way towards those of a batch."""
    for variable, now in zip(moving, statistics, strict=True):
        variable.assign(MOMENTUM * tf.convert_to_tensor(variable) + (1 - MOMENTUM) * now)


def normalize(
    images: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
) -> tf.Tensor:
    """Returns (images - mean) / sqrt(variance + epsilon) * scale + offset; all but images (channels,), float32."""
    return tf.raw_ops.FusedBatchNormV3(
        x=images, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=EPSILON, is_training=False
    ).y


def normalize_by_batch(
    images: Sequence[tf.Tensor],
    scales: Sequence[tf.Tensor],
    offsets: Sequence[tf.Tensor],
    empty: tf.Tensor | None = None,
) -> list[Sequence[tf.Tensor]]:
    """Returns images normalised by the batch's statistics, and these: the mean and the unbiased variance.

    Arguments:
        images: several of (..., channels), each normalised by itself.
        scales: of each (channels,), float32, like the next.
        offsets: of each (channels,).
        empty: (0,), float32, which the kernel wants where it has no statistics to read; made if not given.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return _normalize_over_replicas(images, scales, offsets)
    unused = tf.zeros([0]) if empty is None else empty
    normalized: list[Sequence[tf.Tensor]] = []
    for x, scale, offset in zip(images, scales, offsets, strict=True):
        # The same kernel; of the first version TensorFlow does not make up gradients (zeros) of the statistics.
        kernel = tf.raw_ops.FusedBatchNorm if x.dtype == tf.float32 else tf.raw_ops.FusedBatchNormV3
        outputs = kernel(x=x, scale=scale, offset=offset, mean=unused, variance=unused, epsilon=EPSILON)
        normalized.append(outputs[:3])
    return normalized


def _normalize_over_replicas(
    images: Sequence[tf.Tensor], scales: Sequence[tf.Tensor], offsets: Sequence[tf.Tensor]
) -> list[Sequence[tf.Tensor]]:
    """Returns what `normalize_by_batch` does, by moments that each replica takes of its own part.

    All replicas get those of all images by one sum, and what gradients need by one more: sums are what replicas wait
    for, and each takes 50 ms to trace. As with the kernel, the statistics that are returned have no gradient.
    """
    channels = [x.shape[-1] for x in images]
    count, mean, variance = _moments_over_replicas([tf.stop_gradient(x) for x in images])
    means, variances = (tf.split(statistic, channels) for statistic in (mean, variance))

    @tf.custom_gradient  # that of every operation would make graphs of several replicas three times as large
    def normalized(
        scale: tf.Tensor, offset: tf.Tensor, *images: tf.Tensor
    ) -> tuple[list[tf.Tensor], Callable[..., list[tf.Tensor]]]:
        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
            slopes = [tf.cast(slope, tf.float32) for slope in upstream]
            centered = [tf.cast(x, tf.float32) - mean for x, mean in zip(images, means, strict=True)]
            along = [tf.reduce_sum(slope * x, _PIXELS) for slope, x in zip(slopes, centered, strict=True)]
            own = tf.stack([tf.concat([tf.reduce_sum(slope, _PIXELS) for slope in slopes], 0), tf.concat(along, 0)])
            sums = tf.unstack(all_reduce(tf.distribute.ReduceOp.SUM, own))
            inverse = tf.math.rsqrt(variance + EPSILON)
            factors = (scale * inverse, sums[0] / count, tf.square(inverse) * sums[1] / count)
            each = zip(images, slopes, centered, *(tf.split(factor, channels) for factor in factors), strict=True)
            to_images = [
                tf.cast(factor * (slope - shift - tilt * center), x.dtype)
                for x, slope, center, factor, shift, tilt in each
            ]
            return [own[1] * inverse, own[0], *to_images]

        factors = zip(*(tf.split(factor, channels) for factor in (scale, offset)), means, variances, strict=True)
        return [normalize(x, *each) for x, each in zip(images, factors, strict=True)], gradient

    outputs = normalized(tf.concat(scales, 0), tf.concat(offsets, 0), *images)
    unbiased = tf.split(variance * count / tf.maximum(count - 1, 1), channels)
    return list(zip(outputs, means, unbiased, strict=True))


def _moments_over_replicas(images: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the number of pixels, the mean and the variance of all channels, in order, (sum of channels,).

    Those of replicas are merged as Chan, Golub and LeVeque do (1979), without cancellation.
    """
    own = []
    for x in (tf.cast(x, tf.float32) for x in images):
        pixels = tf.cast(tf.size(x) // x.shape[-1], tf.float32)  # of unlike parts of the last batch; of an empty one 0
        mean = tf.math.divide_no_nan(tf.reduce_sum(x, _PIXELS), pixels)
        own.append(tf.stack([tf.fill(mean.shape, pixels), mean, tf.reduce_sum(tf.square(x - mean), _PIXELS)]))
    counts, means, squares = tf.unstack(gather_over_replicas(tf.concat(own, 1)), axis=1)
    count = tf.reduce_sum(counts, 0)
    mean = tf.reduce_sum(counts * means, 0) / count
    return [count, mean, tf.reduce_sum(squares + counts * tf.square(means - mean), 0) / count]
