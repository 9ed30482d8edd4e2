"""Each function of images equals a plain loop over windows in float64, for odd and even sizes."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.layers import functional

SIZES = [(6, 6), (5, 7), (1, 4), (2, 3)]
Window = tuple[int, int, np.ndarray]


def images(size: tuple[int, int], channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, *size, channels)).astype("float32")


def kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def windows(x: np.ndarray, size: tuple[int, int], strides: tuple[int, int], dilation: int = 1) -> Iterator[Window]:
    """Yields (row, column, pixels) of each output; a window is centred on its pixel and NaN outside the image."""
    margins = [dilation * (side // 2) for side in size]
    padded = np.pad(x.astype("float64"), [(0, 0), *((m, m) for m in margins), (0, 0)], constant_values=np.nan)
    for row in range(0, x.shape[1], strides[0]):
        for column in range(0, x.shape[2], strides[1]):
            rows = row + dilation * np.arange(size[0])
            columns = column + dilation * np.arange(size[1])
            yield row // strides[0], column // strides[1], padded[:, rows][:, :, columns]


def slide(
    x: np.ndarray, size: tuple[int, int], strides: tuple[int, int], reduce: Callable, *, dilation: int = 1
) -> np.ndarray:
    """Returns what `reduce` makes of each window (batch, height, width, channels)."""
    pixels = {(row, column): reduce(window) for row, column, window in windows(x, size, strides, dilation)}
    height, width = max(pixels)
    return np.stack([np.stack([pixels[row, column] for column in range(width + 1)], 1) for row in range(height + 1)], 1)


def assert_equal(ours: tf.Tensor, truth: np.ndarray) -> None:
    assert ours.shape == truth.shape
    np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("window", "strides"), [((3, 3), (1, 1)), ((3, 3), (2, 2)), ((1, 1), (2, 2)), ((1, 7), (1, 2)), ((7, 1), (2, 1))]
)
def test_convolution(size: tuple[int, int], window: tuple[int, int], strides: tuple[int, int]) -> None:
    x, w = images(size, 3), kernel(*window, 3, 4)
    truth = slide(x, window, strides, lambda pixels: np.einsum("bijc,ijco->bo", np.nan_to_num(pixels), w))
    assert_equal(functional.convolution(tf.constant(x), tf.constant(w), strides), truth)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [3, 5, 7])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_depthwise(size: tuple[int, int], window: int, stride: int, dilation: int) -> None:
    x, w = images(size, 3), kernel(window, window, 3, 1)
    truth = slide(
        x,
        (window, window),
        (stride, stride),
        lambda pixels: np.einsum("bijc,ijc->bc", np.nan_to_num(pixels), w[..., 0]),
        dilation=dilation,
    )
    assert_equal(functional.depthwise(tf.constant(x), tf.constant(w), stride, dilation), truth)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [3, 5])
def test_dilated_gradients_are_tensorflow_s(size: tuple[int, int], window: int, known: bool) -> None:
    """Of `tf.nn.depthwise_conv2d`, whose values and gradients hold for SAME padding; also where sizes are not known."""
    x, w, projection = tf.constant(images(size, 3)), tf.constant(kernel(window, window, 3, 1)), images(size, 3)

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec(x.shape if known else [None] * 4), tf.TensorSpec(w.shape)]
    )
    def values_and_gradients(x: tf.Tensor, w: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            outputs = functional.depthwise(x, w, 1, 2)
            loss = tf.reduce_sum(outputs * projection)
        return [outputs, *tape.gradient(loss, [x, w])]

    with tf.GradientTape() as tape:
        tape.watch([x, w])
        outputs = tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME", dilations=[2, 2])
        loss = tf.reduce_sum(outputs * projection)
    for value, truth in zip(values_and_gradients(x, w), [outputs, *tape.gradient(loss, [x, w])], strict=True):
        assert_equal(value, truth)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("pool", "reduce"),
    [(functional.max_pool, np.nanmax), (functional.average_pool, np.nanmean)],
    ids=["max", "average"],
)
def test_pools(size: tuple[int, int], stride: int, pool: Callable, reduce: Callable) -> None:
    x = images(size, 3) - 5  # A pool that counted zeros outside the image would show.
    truth = slide(x, (3, 3), (stride, stride), lambda pixels: reduce(pixels, axis=(1, 2)))
    assert_equal(pool(tf.constant(x), stride), truth)


@pytest.mark.parametrize("size", SIZES)
def test_pixels_that_a_reduction_takes(size: tuple[int, int]) -> None:
    x = images(size, 3) - 5
    height, width = -(-size[0] // 2), -(-size[1] // 2)
    even, odd, blocks = (np.zeros((2, height, width, 3)) for _ in range(3))
    for i in range(height):
        for j in range(width):
            even[:, i, j] = x[:, 2 * i, 2 * j]
            blocks[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((1, 2))
            if 2 * i + 1 < size[0] and 2 * j + 1 < size[1]:
                odd[:, i, j] = x[:, 2 * i + 1, 2 * j + 1]
    assert_equal(functional.subsample(tf.constant(x), 2), even)
    assert_equal(functional.odd_pixels(tf.constant(x)), odd)
    assert_equal(functional.halve(tf.constant(x)), blocks)


@settings(deadline=None, max_examples=20)
@given(groups=st.integers(1, 5), n=st.integers(1, 5))
def test_shuffle_moves_channel_i_of_group_g_to_i_times_groups_plus_g(groups: int, n: int) -> None:
    x = images((2, 3), groups * n)
    shuffled = functional.shuffle_channels(tf.constant(x), groups)
    for group in range(groups):
        for channel in range(n):
            np.testing.assert_array_equal(shuffled[..., channel * groups + group], x[..., group * n + channel])


@pytest.mark.parametrize("n", [2, 17])
def test_grouped_convolution_is_one_convolution_for_each_group(n: int) -> None:
    """Both with one kernel for few channels and group by group for many."""
    groups = 3
    x, w = tf.constant(images((5, 4), groups * n)), tf.constant(kernel(2, 1, 1, n, 9))
    projection = tf.constant(kernel(2, 5, 4, 9))

    def one_by_one(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        parts = zip(tf.split(x, groups, -1), tf.split(w, groups, -1), strict=True)
        return tf.concat([tf.einsum("bhwi,io->bhwo", part, matrix[0, 0]) for part, matrix in parts], -1)

    outcomes = []
    for compute, expand in (
        (functional.grouped_pointwise, functional.block_diagonal),
        (one_by_one, lambda kernels, _: kernels),
    ):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            outputs = [compute(x, stacked) for stacked in tf.unstack(expand(w, groups))]
            loss = tf.reduce_sum((outputs[0] + 2 * outputs[1]) * projection)
        outcomes.append([*outputs, *tape.gradient(loss, [x, w])])
    for ours, truth in zip(*outcomes, strict=True):
        assert_equal(ours, truth.numpy())


def test_kernels_side_by_side_convolve_each_image_and_sum_with_weights() -> None:
    x, w, weights = images((5, 4), 6), kernel(1, 1, 2, 3), kernel(3, 1, 3)
    joined = functional.side_by_side(tf.constant(w), tf.constant(weights))
    truth = sum((x[..., 2 * i : 2 * i + 2] @ w[0, 0]) * weights[i, 0] for i in range(3))
    assert_equal(functional.convolution(tf.constant(x), joined), truth)


def test_repeated_channels_come_copy_by_copy() -> None:
    x = images((3, 2), 4)
    np.testing.assert_array_equal(functional.repeat_channels(tf.constant(x), 3), np.concatenate([x] * 3, -1))


@pytest.mark.parametrize("size", [(6, 6), (5, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_xla_computes_the_same(size: tuple[int, int], stride: int) -> None:
    def compute(x: tf.Tensor) -> list[tf.Tensor]:
        return [
            functional.convolution(x, tf.constant(kernel(3, 3, 4, 2)), (stride, stride)),
            functional.depthwise(x, tf.constant(kernel(3, 3, 4, 1)), stride),
            functional.depthwise(x, tf.constant(kernel(5, 5, 4, 1)), stride, 2),
            functional.max_pool(x, stride),
            functional.average_pool(x, stride),
            functional.halve(x),
            functional.odd_pixels(x),
            functional.shuffle_channels(x, 2),
        ]

    x = tf.constant(images(size, 4))
    for compiled, eager in zip(tf.function(compute, jit_compile=True)(x), compute(x), strict=True):
        assert_equal(compiled, eager.numpy())
