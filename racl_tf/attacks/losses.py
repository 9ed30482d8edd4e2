"""The losses an attack can raise, per image, from logits (B, K) and integer labels (B,), and what logits predict."""

from collections.abc import Callable

import tensorflow as tf

from racl_tf.attacks.norms import finite
from racl_tf.errors import UsageError

PerImage = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
NO_CLASS = -1


def predicted(logits: tf.Tensor) -> tf.Tensor:
    """Returns the class of the largest logit, int32 (B,), or `NO_CLASS` where a logit is NaN or infinite.

    An image that a model has no finite outputs for is misclassified, whatever its label is; argmax would say class 0.

    >>> predicted(tf.constant([[0.0, 1.0], [float("nan"), 1.0], [0.0, float("inf")]])).numpy().tolist()
    [1, -1, -1]
    """
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
    return tf.where(finite, tf.argmax(logits, axis=-1, output_type=tf.int32), NO_CLASS)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns -log softmax(z)_y; in float32 its gradient is exactly 0 once the margin is beyond about -100.

    >>> print(cross_entropy(tf.constant([[0.0, 0.0]]), tf.constant([0])).numpy().round(4))
    [0.6931]
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns max over i != y of z_i - z_y (Carlini and Wagner, 2017), which is positive where y is not predicted.

    >>> print(margin(tf.constant([[3.0, 1.0, 2.0]]), tf.constant([0])).numpy())
    [-1.]
    """
    is_label = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    other = tf.reduce_max(tf.where(is_label, logits.dtype.min, logits), axis=-1)
    return other - tf.gather(logits, labels, batch_dims=1)


def dlr(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns margin / (z_(1) - z_(3)) with z sorted downwards, the difference of logits ratio.

    It is the loss of Croce and Hein (2020). Neither a shift nor a scale of the logits changes it,
    so it does not saturate.

    Raises:
        UsageError: if there are fewer than 3 classes.
    """
    top = _largest(logits, 3, "The loss 'dlr'")
    return tf.math.divide_no_nan(margin(logits, labels), top[:, 0] - top[:, 2])


def targeted_dlr(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns -margin / (z_(1) - (z_(3) + z_(4)) / 2), which rises towards the target t (Croce and Hein, 2020).

    The fourth logit keeps it from being constant where the target ranks third. The numerator
    is z_t - max over i != t of z_i, which is theirs for as long as the true class is predicted.

    Raises:
        UsageError: if there are fewer than 4 classes.
    """
    top = _largest(logits, 4, "The loss 'dlr' with targeted=True")
    return tf.math.divide_no_nan(-margin(logits, targets), top[:, 0] - (top[:, 2] + top[:, 3]) / 2)


def _largest(logits: tf.Tensor, count: int, loss: str) -> tf.Tensor:
    classes = logits.shape[-1]
    if classes < count:
        raise UsageError(
            f"{loss} needs at least {count} classes. Received: logits of {classes}. Use 'margin' or 'cross_entropy'."
        )
    return tf.math.top_k(logits, count).values


def _negated(loss: PerImage) -> PerImage:
    return lambda logits, labels: -loss(logits, labels)


# What is raised to leave the label (untargeted), and what is raised to reach it (targeted).
LOSSES: dict[str, tuple[PerImage, PerImage]] = {
    "cross_entropy": (cross_entropy, _negated(cross_entropy)),
    "margin": (margin, _negated(margin)),
    "dlr": (dlr, targeted_dlr),
}


def with_gradient(
    logits_of: Callable[[tf.Tensor], tf.Tensor], loss: PerImage, eot: int = 1
) -> Callable[[tf.Tensor, tf.Tensor], list[tf.Tensor]]:
    """Returns a function from images and labels to logits, loss and its gradient by the images, as graph code.

    Arguments:
        logits_of: maps images (B, ...) to logits (B, K).
        loss: of each image.
        eot: the number of evaluations that all three are means of, for a model that is random: expectation over
            transformation (Athalye et al., 2018, arXiv 1802.00420).
    """

    def once(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = logits_of(images)
            values = loss(logits, labels)
        gradient = tape.gradient(values, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [logits, values, finite(gradient)]

    def mean(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        def add(number: tf.Tensor, sums: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            return number + 1, [total + value for total, value in zip(sums, once(images, labels), strict=True)]

        loop = (tf.constant(1), once(images, labels))
        sums = tf.while_loop(lambda number, _: number < eot, add, loop, parallel_iterations=1)[1]
        return [total / eot for total in sums]

    return once if eot == 1 else mean


def needed_classes(loss: str, targeted: bool) -> int:
    """Returns the number of classes that a loss in `LOSSES` needs at least.

    >>> needed_classes("dlr", targeted=True)
    4
    """
    return (4 if targeted else 3) if loss == "dlr" else 2
