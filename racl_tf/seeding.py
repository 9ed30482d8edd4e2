"""One integer seed per run; everything random is folded from it and from what it is for.

A stream of random numbers is named (`"search/augmentation"`) and folded with the step,
epoch or image it belongs to, so no state has to be saved for a run to repeat or resume
exactly.
"""

import zlib

import numpy as np
import tensorflow as tf


def derive(seed: int, stream: str) -> int:
    """Returns the non-negative 31-bit integer seed of a named stream of a run's seed.

    >>> derive(0, "weights") == derive(0, "weights") != derive(0, "data")
    True
    """
    return int(np.random.SeedSequence([seed, zlib.crc32(stream.encode())]).generate_state(1)[0] >> 1)


def fold(seed: int, stream: str, *steps: int | tf.Tensor) -> tf.Tensor:
    """Returns the stateless seed, int32 of shape (2,), of a stream at given steps.

    Arguments:
        seed: the run's seed.
        stream: the name of what is drawn.
        steps: integers or scalar integer tensors folded in, one after the other.
    """
    folded = tf.constant([derive(seed, stream), 0], tf.int32)
    for step in steps:
        folded = tf.random.experimental.stateless_fold_in(folded, tf.cast(step, tf.int32))
    return folded
