"""The L2-nonexpansive network: no two images lie closer together than their logits."""

import math
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from racl_tf.errors import check_positive
from racl_tf.image_spec import ImageSpec
from racl_tf.networks.image_network import ImageNetwork
from racl_tf.seeding import derive


@keras.saving.register_keras_serializable("racl_tf")
class L2Nonexpansive(ImageNetwork):
    """A classifier whose logits are 1-Lipschitz: ||f(x) - f(x')||_2 <= ||x - x'||_2 (Qian and Wegman, ICLR 2019).

    Guaranteed, whatever the weights, but for rounding: each step is 1-Lipschitz. So an image x whose largest logit
    leads by g keeps its class in the L2 ball of radius g / sqrt(2), in pixels in [0, 1].

    Two 5x5 convolutions and a hidden layer, each followed by the two-sided ReLU, max(x, 0) beside max(-x, 0); after the
    convolutions norm pooling, the L2 norm of each 2x2 window (padded by zeros at odd sizes); then the logits. Every
    linear map is divided by the root of a bound b on its squared norm. Of a matrix W, b is r(W^T W) or r(W W^T), with
    r the largest absolute row sum, which no eigenvalue exceeds. A convolution with zeros around h x w pixels is part
    of the one on a torus of (h + 4) x (w + 4), which the Fourier transform takes apart into one matrix from input to
    output channels for each frequency: b is the largest of theirs.

    Differences from the source: b is that of the smaller of the two products, where theirs is the smaller of the two
    b. Their convolution is the matrix from windows to channels, and divided by 5 more since each pixel lies in 5^2
    windows; b by frequencies is a guarantee too, and tighter. Their matrices are regularised, and scaled at the end;
    here they are scaled in every pass, so that the guarantee holds in training. Of their MNIST classifiers it is the
    one without a separate network per class; sizes are ours, as are orthogonal initial matrices. Their residual
    network for CIFAR-10 is left out.

    Arguments:
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
            Its `std` becomes 1: dividing by another would expand.
        channels: the filters of the first convolution; the second has twice and the hidden layer 8 times as many.
        kwargs: what `ImageNetwork` takes: the `seed` of the initial weights, or `input_shape`, `mean` and `std`.

    Raises:
        UsageError: an argument is out of its range.

    >>> network = L2Nonexpansive(10, channels=2, input_shape=(8, 8, 1))
    >>> network(tf.zeros([3, 8, 8, 1])).shape
    TensorShape([3, 10])
    """

    def __init__(
        self,
        spec: ImageSpec | int | None = None,
        *,
        channels: int = 32,
        **kwargs: Any,
    ) -> None:
        exact = {**kwargs, "dtype": "float32"}  # coarser numbers would round the guarantee away
        super().__init__(spec, **exact)
        self.spec = replace(self.spec, std=(1.0,) * len(self.spec.std))
        check_positive(channels=channels)
        self.channels = channels
        height, width, colors = self.image_shape
        flat = -(-height // 4) * -(-width // 4) * 4 * channels
        self.matrices, self.biases = [], []
        for name, shape in {
            "first": (5, 5, colors, channels),
            "second": (5, 5, 2 * channels, 2 * channels),
            "hidden": (flat, 8 * channels),
            "logits": (16 * channels, self.num_classes),
        }.items():
            start = keras.initializers.Orthogonal(seed=derive(self.seed, name))
            self.matrices.append(self.add_weight(shape, start, name=name))
            self.biases.append(self.add_weight(shape[-1:], "zeros", name=f"{name}_bias"))
        start = keras.initializers.Constant(math.log(10))
        self.class_scales = self.add_weight((self.num_classes,), start, name="class_scales")
        self.scale = self.add_weight((), start, name="scale")
        self.built = True

    @property
    def classifier_weights(self) -> list[keras.Variable]:
        """The weights that belong to the classes: the last matrix, its offsets, and the classes' scales."""
        return [self.matrices[-1], self.biases[-1], self.class_scales]

    def call(
        self, inputs: tf.Tensor, training: bool = False, scaled: bool = False
    ) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the logits (batch, num_classes) of images in [0, 1].

        With `scaled` three: the logits y, and (u_i y_i) and v y with the trainable u, v > 0 of `ConfidenceGap`.
        """
        *kernels, hidden, head = map(tf.convert_to_tensor, self.matrices)
        biases = list(map(tf.convert_to_tensor, self.biases))
        state = self.normalize(inputs)
        for kernel, bias in zip(kernels, biases[:2], strict=True):
            kernel *= tf.math.rsqrt(squared_convolution_bound(kernel, state.shape[1:3]))
            state = norm_pool(two_sided_relu(tf.nn.conv2d(state, kernel, 1, "SAME") + bias))
        state = tf.reshape(state, [-1, hidden.shape[0]])
        state = two_sided_relu(state @ hidden * tf.math.rsqrt(squared_norm_bound(hidden)) + biases[2])
        logits = state @ head * tf.math.rsqrt(squared_norm_bound(head)) + biases[3]
        if not scaled:
            return logits
        u, v = (tf.exp(tf.convert_to_tensor(scale)) for scale in (self.class_scales, self.scale))
        return logits, u * logits, v * logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


def squared_norm_bound(matrices: tf.Tensor) -> tf.Tensor:
    """Returns b, a scalar, at least the largest squared singular value of all matrices (..., n, m), real or complex.

    It is the largest absolute row sum of W* W or of W W*, whichever is smaller in size.

    >>> print(squared_norm_bound(tf.constant([[3.0, 0.0], [0.0, 1.0]])).numpy())
    9.0
    """
    wide = matrices.shape[-2] < matrices.shape[-1]
    products = tf.matmul(matrices, matrices, adjoint_a=not wide, adjoint_b=wide)
    return tf.reduce_max(tf.reduce_sum(tf.abs(products), axis=-1))


def squared_convolution_bound(kernel: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns b of the convolution by a kernel (k, k, inputs, outputs), stride 1, of images of `size` padded by zeros.

    It is `squared_norm_bound` of the channels' matrices at the frequencies of a torus that holds image and padding.

    >>> print(squared_convolution_bound(tf.ones([5, 5, 1, 1]), (8, 8)).numpy().round(2))
    625.0
    """
    padded = tf.pad(tf.transpose(kernel, [2, 3, 0, 1]), [[0, 0], [0, 0], [0, size[0] - 1], [0, size[1] - 1]])
    return squared_norm_bound(tf.transpose(tf.signal.rfft2d(padded), [2, 3, 0, 1]))


def two_sided_relu(values: tf.Tensor) -> tf.Tensor:
    """Returns max(x, 0) and max(-x, 0) side by side as channels.

    >>> print(two_sided_relu(tf.constant([[1.0, -2.0]])).numpy())
    [[1. 0. 0. 2.]]
    """
    return tf.concat([tf.nn.relu(values), tf.nn.relu(-values)], axis=-1)


def norm_pool(images: tf.Tensor) -> tf.Tensor:
    """Returns the L2 norm of each 2x2 window of images (B, H, W, C), with zeros around odd sizes.

    The 1e-12 below the root bounds its slope at 0, where the norm has none.
    """
    height, width = images.shape[1:3]
    squares = tf.pad(tf.square(images), [[0, 0], [0, height % 2], [0, width % 2], [0, 0]])
    return tf.sqrt(4 * tf.nn.avg_pool2d(squares, 2, 2, "VALID") + 1e-12)
