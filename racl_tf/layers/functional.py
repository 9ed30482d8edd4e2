"""The convolutions and pools of the search space as pure functions of NHWC images.

Strided kernels are padded by half a kernel on both sides (TensorFlow's `SAME` is half a
pixel off for even sizes), so every output has ceil(size / stride) rows and columns.
"""

import functools

import tensorflow as tf


def _half(kernel: int) -> list[int]:
    return [kernel // 2, kernel // 2]


def convolution(images: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int] = (1, 1)) -> tf.Tensor:
    """Returns the (grouped) convolution with a kernel (height, width, in / groups, out), odd sizes.

    Grouped ones must be 1x1: on CPUs their gradients exist only in oneDNN's kernels, for `SAME`, and not on
    every processor, so that there a batched product takes their place.
    """
    groups = images.shape[-1] // kernel.shape[2]
    if groups > 1 and not _grouped_gradients_exist():
        return _grouped_pointwise(images, kernel, groups)
    if strides == (1, 1):
        return tf.nn.conv2d(images, kernel, 1, "SAME")
    height, width = kernel.shape[:2]
    return tf.nn.conv2d(images, kernel, strides, [[0, 0], _half(height), _half(width), [0, 0]])


@functools.cache
def _grouped_gradients_exist() -> bool:
    @tf.function
    def gradient(images: tf.Tensor, kernel: tf.Tensor) -> list[tf.Tensor]:
        return tf.gradients(tf.nn.conv2d(images, kernel, 1, "SAME"), [images, kernel])

    with tf.init_scope():
        try:
            gradient(tf.ones([1, 2, 2, 4]), tf.ones([1, 1, 2, 4]))
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


def _grouped_pointwise(images: tf.Tensor, kernel: tf.Tensor, groups: int) -> tf.Tensor:
    *outer, channels = images.shape
    inputs = tf.reshape(images, [-1, *outer[1:], groups, channels // groups])
    matrices = tf.reshape(kernel, [channels // groups, groups, -1])
    outputs = tf.einsum("bhwgi,igo->bhwgo", inputs, matrices)
    return tf.reshape(outputs, [-1, *outer[1:], kernel.shape[-1]])


def depthwise(images: tf.Tensor, kernel: tf.Tensor, stride: int = 1, dilation: int = 1) -> tf.Tensor:
    """Returns the depthwise convolution with a kernel (size, size, channels, 1), size odd.

    TensorFlow refuses a stride together with a dilation. With both equal to 2 only every
    second pixel is ever read, so the undilated convolution of these pixels is the same.
    """
    if stride > 1 and dilation == stride:
        images, stride, dilation = subsample(images, stride), 1, 1
    if stride == 1:
        return tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME", dilations=[dilation, dilation])
    half = _half(kernel.shape[0])
    return tf.nn.depthwise_conv2d(images, kernel, [1, stride, stride, 1], [[0, 0], half, half, [0, 0]])


def subsample(images: tf.Tensor, stride: int) -> tf.Tensor:
    """Returns every `stride`-th row and column, from the first."""
    return images if stride == 1 else images[:, ::stride, ::stride]


def max_pool(images: tf.Tensor, stride: int = 1) -> tf.Tensor:
    """Returns the maximum of each 3x3 window (outside the image: minus infinity)."""
    if stride == 1:
        return tf.nn.max_pool2d(images, 3, 1, "SAME")
    return tf.nn.max_pool2d(images, 3, stride, [[0, 0], [1, 1], [1, 1], [0, 0]])


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
    height, width = images.shape[1] % 2, images.shape[2] % 2
    pixels = images[:, 1::2, 1::2]
    return tf.pad(pixels, [[0, 0], [0, height], [0, width], [0, 0]]) if height or width else pixels


def shuffle_channels(images: tf.Tensor, groups: int) -> tf.Tensor:
    """Returns the channels (groups, n) in the order (n, groups)."""
    if groups == 1:
        return images
    *outer, channels = images.shape
    grouped = tf.reshape(images, [-1, *outer[1:], groups, channels // groups])
    return tf.reshape(tf.linalg.matrix_transpose(grouped), [-1, *outer[1:], channels])
