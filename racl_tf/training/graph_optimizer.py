"""How the graph of a step is made: whether TensorFlow optimises it, and what is traced once."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tensorflow as tf

P = ParamSpec("P")
R = TypeVar("R")
_OFF = "disable_meta_optimizer"


def traced_once(function: Callable[P, R], *, inline: bool = True) -> Callable[P, R]:
    """Returns the function, traced once for all the places in graphs that call it.

    It is called as it is outside of graphs, and on several replicas, which do not meet inside of another function.

    Arguments:
        function: graph code.
        inline: whether a graph holds a copy of it for each call. Without, it is optimised once too, and what it does in
            one call waits for all of the call before.
    """
    traced = tf.function(function, autograph=False, experimental_attributes=None if inline else {"_noinline": True})

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
        return (function if tf.executing_eagerly() or not alone else traced)(*args, **kwargs)

    return call


def without_graph_optimizer(step: Callable[P, R]) -> Callable[P, R]:
    """Returns a step that runs its graph as it was traced, on CPUs.

    Of a graph of many small kernels, as a supernet's are, the optimiser makes no faster one, and takes as long for it
    as ten steps do. On a GPU, where it decides on the layout of images, it is left on. The setting is
    TensorFlow's for the whole process, and holds during the step alone.
    """
    if tf.config.list_physical_devices("GPU"):
        return step
    optimizer = tf.config.optimizer

    @functools.wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = optimizer.get_experimental_options()[_OFF]
        optimizer.set_experimental_options({_OFF: True})
        try:
            return step(*args, **kwargs)
        finally:
            optimizer.set_experimental_options({_OFF: before})

    return run
