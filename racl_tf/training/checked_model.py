"""A Keras model with steps of its own, which checks what Keras checks, or makes up for, in its usual ones."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from racl_tf.distribution import WORKERS
from racl_tf.errors import UsageError

_IMAGES, _LABELS = "Images to train on must lie in [0, 1]", "Labels must be classes from 0"
_EMPTY = "A last batch of fewer images than replicas leaves one of them without any"
_LARGEST = np.iinfo(np.int32).max
_Step = Callable[[Any], dict[str, tf.Tensor]]  # what a batch gives to what is logged


class CheckedModel(keras.Model):
    """A model whose training step is its own, on batches of images in [0, 1] and integer labels.

    Images and labels of every batch are checked within the step, at next to no cost, whatever they come from: arrays,
    a `tf.data.Dataset` or a generator. `fit`, `evaluate`, `train_on_batch` and `test_on_batch` raise a `UsageError`
    before anything is learnt of what cannot be.
    """

    train_function: Any
    test_function: Any

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = self._in_one_graph(self.train_step, self.train_function)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            super().make_test_function(force)
            self.test_function = self._in_one_graph(self.test_step, self.test_function)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if WORKERS.count == 1:  # else Keras would reduce nested batches as one tensor, to build what is built already
            super()._maybe_symbolic_build(iterator, data_batch)

    def _in_one_graph(self, step: _Step, otherwise: _Step) -> _Step:
        """Returns a function that takes a step on the next batch of an iterator and returns its logs.

        Keras's own, `otherwise`, calls the graph of a step from another one, for which TensorFlow keeps it once more,
        and reduces logs of replicas in several processes along an axis that scalars do not have. It remains for what
        is no iterator of TensorFlow's and, of a single process, for several steps at once, for XLA and for eager steps.
        """
        if WORKERS.count == 1 and (self.run_eagerly or self.jit_compile or self.steps_per_execution > 1):
            return otherwise
        strategy = self.distribute_strategy

        def step_on(batch: Any) -> dict[str, tf.Tensor]:
            optional = tf.experimental.Optional  # what Keras makes of None
            batch = tf.nest.map_structure(lambda value: None if isinstance(value, optional) else value, batch)
            tensors = [value for value in tf.nest.flatten(batch) if value is not None]
            with tf.control_dependencies(tensors):  # else a step would begin after the last batch, which changes state
                return step(batch)

        @tf.function(autograph=False, jit_compile=self.jit_compile, reduce_retracing=True)
        def next_step(batches: Iterator[Any]) -> dict[str, tf.Tensor]:
            logs = strategy.run(step_on, (next(batches),))
            return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}  # all the same

        def function(batches: Any) -> dict[str, tf.Tensor]:
            if not isinstance(batches, tf.data.Iterator | tf.distribute.DistributedIterator):
                return otherwise(batches)
            try:
                return next_step(batches)
            except tf.errors.OutOfRangeError:
                raise StopIteration from None

        return function

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # which Keras would not do, but warn of
        with _usage_errors():
            return super().fit(x, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_errors():
            return super().evaluate(*args, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_errors():
            return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_errors():
            return super().test_on_batch(*args, **kwargs)

    def check_precision(self, *optimizers: keras.Optimizer) -> None:
        """Checks that no gradient has to be scaled, as float16 needs it and these steps do not do it.

        Raises:
            UsageError: a layer computes in float16, or an optimizer divides gradients by the scale of a loss.
        """
        half = [layer.name for layer in self._flatten_layers() if layer.compute_dtype == "float16"]
        scaled = [
            optimizer.name
            for optimizer in optimizers
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or optimizer.loss_scale_factor
        ]
        if half:
            raise UsageError(
                "This training step scales no loss, without which small gradients are lost in float16. Received: "
                f"{len(half)} layers that compute in float16, such as {half[-1]!r}. Make the network under "
                "keras.config.set_dtype_policy('mixed_bfloat16'), which needs no scaling, or 'float32'."
            )
        if scaled:
            raise UsageError(
                "This training step scales no loss, so that an optimizer which divides gradients by the scale learns "
                f"next to nothing. Received: {scaled[0]!r}. Pass the optimizer itself, without LossScaleOptimizer and "
                "loss_scale_factor."
            )

    def checked(self, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a batch as float32 images and int32 labels, whose ranges the graph checks.

        Under XLA, which has no assertions, images out of range become NaN, and with them the loss.
        """
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if labels is None or weights is not None:
            raise UsageError(
                "A step takes images and one label for each, which all weigh the same. Received: "
                f"{'no labels' if labels is None else 'weights of samples'}."
            )
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        if labels.shape.rank == 2 and labels.shape[-1] == 1:
            labels = labels[:, 0]  # as keras.datasets.cifar10 has them
        if labels.shape.rank not in (1, None):
            raise UsageError(
                f"Labels must be classes, one for each image. Received: {labels.dtype.name} of shape {labels.shape}. "
                "For one-hot rows take their argmax."
            )
        if not images.dtype.is_floating:
            raise UsageError(
                f"{_IMAGES} and be floating point. Received: {images.dtype.name}. "
                "Scale bytes first: x.astype('float32') / 255."
            )
        images = tf.cast(images, tf.float32)
        inside = tf.reduce_all((images >= 0) & (images <= 1))  # which NaN is not
        low, high = tf.reduce_min(images), tf.reduce_max(images)
        checks = [tf.debugging.Assert(inside, [_IMAGES, low, high])]
        if labels.dtype.is_integer:
            wide = tf.cast(labels, tf.float64)  # where no integer wraps around
            known = tf.reduce_all((wide >= 0) & (wide <= _LARGEST))
            checks.append(tf.debugging.Assert(known, [_LABELS, tf.reduce_min(labels), tf.reduce_max(labels)]))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1 and has_onednn():  # whose convolutions of no images have the shape of what they were given
            checks.append(tf.debugging.Assert(tf.shape(images)[0] > 0, [_EMPTY, tf.shape(images)[0], replicas]))
        with tf.control_dependencies([check for check in checks if check is not None]):
            images = tf.where(inside, images, np.nan) if self.jit_compile else tf.identity(images)
            return images, tf.cast(labels, tf.int32) if labels.dtype.is_integer else labels


def has_onednn() -> bool:
    """Returns whether TensorFlow computes by oneDNN on CPUs, and there is no GPU that computes in their place."""
    try:
        from tensorflow.python.util import _pywrap_util_port as port
    except ImportError:  # nothing public says it
        return False
    return bool(port.IsMklEnabled()) and not tf.config.list_physical_devices("GPU")


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """Raises what a step has found wrong with its batch as a `UsageError`."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        text = str(error)
        if _EMPTY in text:
            raise UsageError(
                f"{_EMPTY}, which TensorFlow cannot compute by oneDNN. Choose a batch size, or a number of images, "
                "that leaves none or at least as many as there are replicas; or set TF_ENABLE_ONEDNN_OPTS=0."
            ) from None
        for found, advice in (
            (_IMAGES, "Put any normalisation into the model, so that eps keeps its meaning in pixels."),
            (_LABELS, "Renumber the classes, and drop images without a label."),
        ):
            if values := re.search(rf"{re.escape(found)}['\]]*\s+\[?([^\s\]]+)\]?\s+\[?([^\s\]]+)", text):
                raise UsageError(f"{found}. Received: values from {values[1]} to {values[2]}. {advice}") from None
        if label := re.search(r"label value of (\S+) which is outside the valid range of \[0, (\d+)\)", text):
            raise UsageError(
                f"Labels must be below the number of classes, {label[2]}. Received: a label {label[1]}. "
                "Is this the model of another dataset?"
            ) from None
        raise
