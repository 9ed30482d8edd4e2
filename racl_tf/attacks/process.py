"""An attack in motion: pure functions of per-image tensors, and the loops that run them.

The first axis of every tensor is the batch, and nothing is computed across it: what happens to an image depends on
that image, its label and its seed alone, wherever it lies.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import tensorflow as tf

from racl_tf.attacks.norms import where

LogitsOf = Callable[[tf.Tensor], tf.Tensor]


class Images(NamedTuple):
    """What a batch of images is attacked with.

    Arguments:
        x: clean images, float32 (B, ...) in [0, 1].
        y: labels, int32 (B,).
        target: the class aimed at, int32 (B,); `y` itself for attacks without targets.
        seeds: one stateless seed per image, int32 (B, 2).
    """

    x: tf.Tensor
    y: tf.Tensor
    target: tf.Tensor
    seeds: tf.Tensor


class AttackState(Protocol):
    """What changes while images are attacked: each attack's own NamedTuple of tensors with these two among them.

    Arguments:
        adversarial: the images (B, ...) that the next step shows to the model, in the ball and in [0, 1] if the
            attack keeps them there.
        is_adversarial: whether the image shown last fulfils the attack's aim, bool (B,), at first false.
    """

    @property
    def adversarial(self) -> tf.Tensor: ...

    @property
    def is_adversarial(self) -> tf.Tensor: ...

    def _replace(self, *args: Any, **fields: Any) -> Self: ...


S = TypeVar("S", bound=AttackState)


class Process(NamedTuple, Generic[S]):
    """The motion of one attack on one model.

    Arguments:
        start: returns the state before the first step, without asking the model.
        step: takes the images, the number of steps that each has made, int32 (B,), and the state. It shows
            `adversarial` to the model, sets `is_adversarial` where that image fulfils the attack's aim, and moves
            on all the same: who wants to stop there keeps the old image.
        finish: returns the result of a state, the best images so far; by default `adversarial`.
    """

    start: Callable[[Images], S]
    step: Callable[[Images, tf.Tensor, S], S]
    finish: Callable[[Images, S], tf.Tensor] = lambda _, state: state.adversarial


def run(process: Process[S], images: Images, steps: int | tf.Tensor) -> tf.Tensor:
    """Returns what the process has made of all images after `steps` steps, (B, ...)."""

    def step(count: tf.Tensor, state: S) -> tuple[tf.Tensor, S]:
        return count + 1, process.step(images, count, state)

    loop = (tf.zeros_like(images.y), process.start(images))
    _, state = tf.while_loop(lambda *_: True, step, loop, maximum_iterations=steps)
    return process.finish(images, state)


def advance(
    process: Process[S], images: Images, count: tf.Tensor, state: S, *, steps: int | tf.Tensor, limit: int | tf.Tensor
) -> tuple[tf.Tensor, S]:
    """Returns `count` and `state` after at most `limit` more steps, where an adversarial image stays as it is.

    An image is finished when it is adversarial or its count exceeds `steps`: after the last step it is shown to
    the model once more. `count` of an adversarial image is the number of steps that it took.
    """

    def moving(count: tf.Tensor, state: S) -> tf.Tensor:
        return ~state.is_adversarial & (count <= steps)

    def step(count: tf.Tensor, state: S) -> tuple[tf.Tensor, S]:
        shown, new = moving(count, state), process.step(images, count, state)
        moved = shown & ~new.is_adversarial
        kept = tf.nest.map_structure(lambda value, old: where(moved, value, old), new, state)
        found = state.is_adversarial | (shown & new.is_adversarial)
        return count + tf.cast(moved, tf.int32), kept._replace(is_adversarial=found)

    return tf.while_loop(lambda *loop: tf.reduce_any(moving(*loop)), step, (count, state), maximum_iterations=limit)


def like(values: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Returns values (B,) with as many axes as `images`, the further ones of length 1."""
    return tf.reshape(values, [-1] + [1] * (images.shape.rank - 1))


def image_seeds(seed: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Returns one seed per image for `racl_tf.attacks.noise`, int32 (B, 2): `seed` moved by each image's own number.

    Arguments:
        seed: int32 of shape (2,), for example `racl_tf.seeding.fold(seed, "attack")`.
        index: integer (B,), what identifies an image wherever it lies in a batch.
    """
    low = seed[1] + tf.cast(index, tf.int32)
    return tf.stack([tf.fill(tf.shape(low), seed[0]), low], axis=1)
