"""The convolutions and pools of the search space as pure functions of NHWC images.

Strided kernels are padded by half a kernel on both sides (TensorFlow's `SAME` is half a
pixel off for even sizes), so every output has ceil(size / stride) rows and columns.
"""

from functools import partial

import numpy as np
import tensorflow as tf

#: Up to so many channels of a group, one block-diagonal kernel is faster than a kernel for each group.
_FEW = 16


def _half(kernel: int) -> list[int]:
    return [kernel // 2, kernel // 2]


def convolution(images: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int] = (1, 1)) -> tf.Tensor:
    """Returns the convolution with a kernel (height, width, in, out) of odd height and width."""
    if strides == (1, 1):
        return tf.nn.conv2d(images, kernel, 1, "SAME")
    height, width = kernel.shape[:2]
    return tf.nn.conv2d(images, kernel, strides, [[0, 0], _half(height), _half(width), [0, 0]])


def side_by_side(kernel: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the 1x1 kernel (..., 1, groups * in, out) that convolves images side by side with one kernel.

    The images' outputs are weighted and summed.

    Arguments:
        kernel: (..., 1, in, out), for each image.
        weights: (groups, 1, out), of each output of each image.
    """
    *stack, _, inputs, outputs = kernel.shape
    return tf.reshape(kernel * weights, [*stack, 1, weights.shape[0] * inputs, outputs])


def block_diagonal(kernels: tf.Tensor, groups: int) -> tf.Tensor:
    """Returns grouped 1x1 kernels (..., 1, 1, in, groups * out) as kernels for ungrouped convolutions.

    For few channels these take less time than grouped ones do (whose gradients, besides, exist on some CPUs only).
    Kernels of many channels, and of one group, are returned as they are.
    """
    *_, inputs, outputs = kernels.shape
    if groups == 1 or inputs > _FEW:
        return kernels
    group_of_output = np.arange(outputs) // (outputs // groups)
    own = group_of_output == np.arange(groups)[:, None]
    return side_by_side(kernels, tf.constant(own[:, None], kernels.dtype))


def grouped_pointwise(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns the grouped 1x1 convolution with a kernel (1, 1, in / groups, out), group by group."""
    groups = images.shape[-1] // kernel.shape[2]
    if groups == 1:
        return convolution(images, kernel)
    parts = zip(tf.split(images, groups, -1), tf.split(kernel, groups, -1), strict=True)
    return tf.concat([convolution(part, block) for part, block in parts], -1)


def repeat_channels(images: tf.Tensor, times: int) -> tf.Tensor:
    """Returns (batch, h, w, times * channels): all channels, then all again.

    It is a convolution with a constant kernel, whose gradient is faster than that of a concatenation.
    """
    if times == 1:
        return images
    identity = np.eye(images.shape[-1])
    return convolution(images, tf.constant(np.tile(identity, times)[None, None], images.dtype))


def depthwise(images: tf.Tensor, kernel: tf.Tensor, stride: int = 1, dilation: int = 1) -> tf.Tensor:
    """Returns the depthwise convolution with a kernel (size, size, channels, 1), size odd.

    TensorFlow refuses a stride together with a dilation. With both equal to 2 only every
    second pixel is ever read, so the undilated convolution of these pixels is the same.
    """
    if stride > 1 and dilation == stride:
        images, stride, dilation = subsample(images, stride), 1, 1
    if dilation > 1:
        return _dilated(images, kernel, dilation)
    # tf.nn.depthwise_conv2d adds constants to a graph for the dilation that there is none of.
    convolve = partial(tf.raw_ops.DepthwiseConv2dNative, input=images, filter=kernel)
    if stride == 1:
        return convolve(strides=[1, 1, 1, 1], padding="SAME")
    half = _half(kernel.shape[0])
    return convolve(strides=[1, stride, stride, 1], padding="EXPLICIT", explicit_paddings=[0, 0, *half, *half, 0, 0])


def _dilated(images: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Returns the dilated depthwise convolution, as an undilated one of each `dilation`-th row and column.

    TensorFlow's own dilated kernel has wrong gradients on CPUs; `tf.nn.depthwise_conv2d` convolves the zeros around
    the image too.
    """
    sides = images.shape[1:3] if images.shape[1:3].is_fully_defined() else tf.unstack(tf.shape(images)[1:3])
    block, padding = tf.constant([dilation] * 2), tf.convert_to_tensor([[0, -side % dilation] for side in sides])
    scattered = tf.space_to_batch(images, block, padding)
    return tf.batch_to_space(depthwise(scattered, kernel), block, padding)


def subsample(images: tf.Tensor, stride: int) -> tf.Tensor:
    """Returns every `stride`-th row and column, from the first.

    It is a pool of single pixels, whose gradient is several times as fast as that of a strided slice.
    """
    return images if stride == 1 else tf.nn.avg_pool2d(images, 1, stride, "VALID")


def max_pool(images: tf.Tensor, stride: int = 1) -> tf.Tensor:
    """Returns the maximum of each 3x3 window (outside the image: minus infinity)."""
    if stride == 1:
        return tf.nn.max_pool2d(images, 3, 1, "SAME")
    # XLA knows no pool with padding of its own.
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=images.dtype.min)
    return tf.nn.max_pool2d(padded, 3, stride, "VALID")


def average_pool(images: tf.Tensor, stride: int = 1) -> tf.Tensor:
    """Returns the mean of the part of each 3x3 window that lies inside the image."""
    return subsample(tf.nn.avg_pool2d(images, 3, 1, "SAME"), stride)


def halve(images: tf.Tensor) -> tf.Tensor:
    """Returns the 2x2 max pool at stride 2; the last row or column of an odd size stands alone."""
    return tf.nn.max_pool2d(images, 2, 2, "SAME")


def odd_pixels(images: tf.Tensor) -> tf.Tensor:
    """Returns the pixels at odd rows and columns, with zeros after the last for odd sizes.

    This is the input, shifted by one pixel, of the second half of a factorised reduction.
    """
    shifted = tf.pad(tf.slice(images, [0, 1, 1, 0], [-1, -1, -1, -1]), [[0, 0], [0, 1], [0, 1], [0, 0]])
    return subsample(shifted, 2)


def shuffle_channels(images: tf.Tensor, groups: int) -> tf.Tensor:
    """Returns the channels (groups, n) in the order (n, groups).

    It is a convolution with a permutation, which is faster than a transposition of so few channels.
    """
    if groups == 1:
        return images
    order = np.arange(images.shape[-1]).reshape(groups, -1).T.ravel()
    permutation = np.eye(images.shape[-1])[:, order]
    return convolution(images, tf.constant(permutation[None, None], images.dtype))
