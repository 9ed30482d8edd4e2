"""Noise for many images at once, each at its own step.

TensorFlow's stateless generators take one seed for a whole tensor. An attack needs one per image and step, so that an
image's noise depends on nothing else: number j of an image is a hash of its seed, its step and j.
"""

import math

import numpy as np
import tensorflow as tf

_GOLDEN = 0x9E3779B97F4A7C15


def uniforms(seeds: tf.Tensor, count: tf.Tensor | int, size: int) -> tf.Tensor:
    """Returns numbers uniform in [0, 1), the 24 bits that a float32 holds, float32 (B, size).

    With the generator SplitMix64 (Steele, Lea and Flood, 2014) number j of the stream k is mix(k + j g), where g
    is the odd integer next to 2^64 over the golden ratio and mix is Stafford's 13th variant of the finaliser of
    MurmurHash3. Here k is itself number `count` of the stream that starts at the seed's 64 bits.

    Arguments:
        seeds: one per image, int32 (B, 2).
        count: the number of steps that each image has made, int32 (B,), or one for all.
        size: how many numbers each image needs.

    >>> first = uniforms(tf.constant([[1, 2], [3, 4]]), tf.constant([0, 7]), 5)
    >>> again = uniforms(tf.constant([[3, 4]]), 7, 5)
    >>> print(first.shape, bool(tf.reduce_all(first[1] == again[0])))
    (2, 5) True
    """
    high, low = tf.unstack(tf.cast(seeds, tf.uint64), axis=1)
    stream = _mix(high * 2**32 + low + tf.cast(count, tf.uint64) * _GOLDEN)
    places = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    bits = tf.bitwise.right_shift(_mix(stream[:, None] + places), tf.constant(40, tf.uint64))
    return tf.cast(bits, tf.float32) * 2.0**-24


def normals(seeds: tf.Tensor, count: tf.Tensor | int, size: int) -> tf.Tensor:
    """Returns standard normal numbers, float32 (B, size), by the transform of Box and Muller from `uniforms`."""
    radius, angle = tf.split(uniforms(seeds, count, 2 * size), 2, axis=1)
    return tf.sqrt(-2 * tf.math.log(1 - radius)) * tf.cos(2 * math.pi * angle)


def signs(numbers: tf.Tensor) -> tf.Tensor:
    """Returns -1 or 1, each for one half of the uniform numbers in [0, 1)."""
    return tf.where(numbers < 0.5, -1.0, 1.0)


def _mix(bits: tf.Tensor) -> tf.Tensor:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64))) * tf.constant(factor, tf.uint64)
    return bits ^ tf.bitwise.right_shift(bits, tf.constant(31, tf.uint64))
