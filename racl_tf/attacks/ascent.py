"""The one loop that every gradient attack is: projected steepest ascent with optional momentum and restarts."""

from collections.abc import Callable

import tensorflow as tf

from racl_tf.attacks.losses import LOSSES
from racl_tf.attacks.norms import NORMS, per_image


def ascend(
    logits_of: Callable[[tf.Tensor], tf.Tensor],
    x: tf.Tensor,
    y: tf.Tensor,
    seeds: tf.Tensor,
    *,
    eps: float | tf.Tensor,
    step_size: float | tf.Tensor,
    steps: int | tf.Tensor,
    norm: str,
    loss: str,
    decay: float,
    random_start: bool,
    targeted: bool,
    restarts: int,
) -> tf.Tensor:
    """Returns images of higher loss in the eps-ball around `x` and in [0, 1]; graph code without checks.

    Each step takes the raw gradient g of the loss with respect to the image, then the momentum
    m <- decay * m + g / ||g||_1 in its place if `decay` > 0 (Dong et al., 2018, Eq. 6), then the
    norm's steepest direction d, and projects (Madry et al., 2018): x' <- P(x' + step_size * d).
    Nothing is reduced over the batch but the sum of the losses, so no image knows its neighbours,
    and no gradient flows out. Of several restarts each image keeps the result of largest margin.

    Arguments:
        logits_of: maps images like `x` to logits (B, K), without changing any state.
        x: images, float32 (B, ...) in [0, 1].
        y: labels, or targets if `targeted`, integer (B,).
        seeds: one stateless seed per image, int32 (B, 2); see `image_seeds`.
        eps, step_size, steps: as in `Attack`, numbers or scalar tensors.
        norm, loss, decay, random_start, targeted, restarts: as in `Attack`.
    """
    ball = NORMS[norm]
    objective, judge = LOSSES[loss][targeted], LOSSES["margin"][targeted]
    x = tf.stop_gradient(x)

    def values(of: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        return of(tf.cast(logits_of(images), tf.float32), y)

    def within(delta: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(x + ball.project(delta, eps), 0.0, 1.0)

    def step(moved: tf.Tensor, *momentum: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(moved)
            total = tf.reduce_sum(values(objective, moved))
        gradient = tape.gradient(total, moved, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        if momentum:
            gradient = decay * momentum[0] + tf.math.divide_no_nan(gradient, per_image(tf.reduce_sum, tf.abs(gradient)))
        moved = within(moved - x + step_size * ball.direction(gradient))
        return (moved, gradient) if momentum else (moved,)

    def run(seeds: tf.Tensor) -> tf.Tensor:
        start = within(ball.start(seeds, x, eps)) if random_start else x
        state = (start, tf.zeros_like(x)) if decay > 0 else (start,)
        return tf.while_loop(lambda *_: True, step, state, maximum_iterations=steps)[0]

    def restart(number: tf.Tensor, best: tf.Tensor, best_value: tf.Tensor) -> tuple[tf.Tensor, ...]:
        moved = run(seeds + tf.stack([number, 0]))
        value = values(judge, moved)
        better = value > best_value
        best = tf.where(tf.reshape(better, [-1] + [1] * (x.shape.rank - 1)), moved, best)
        return number + 1, best, tf.where(better, value, best_value)

    if restarts == 1:
        return tf.stop_gradient(run(seeds))
    state = (tf.constant(0), x, tf.fill([tf.shape(x)[0]], -float("inf")))
    return tf.stop_gradient(tf.while_loop(lambda number, *_: number < restarts, restart, state)[1])


def image_seeds(seed: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Returns one stateless seed per image, int32 (B, 2): `seed` folded with each image's own number.

    Arguments:
        seed: int32 of shape (2,), for example `racl_tf.random.fold(seed, "attack")`.
        index: integer (B,), what identifies an image wherever it lies in a batch.
    """
    return tf.map_fn(
        lambda number: tf.random.experimental.stateless_fold_in(seed, number),
        tf.cast(index, tf.int32),
        fn_output_signature=tf.TensorSpec([2], tf.int32),
    )
