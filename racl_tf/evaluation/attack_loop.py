"""Attacks on robust images alone: one that is misclassified leaves its batch, and the next takes its place."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from racl_tf import seeding
from racl_tf.attacks import Attack, image_seeds
from racl_tf.attacks.attack import StaticAttack, run_seeds
from racl_tf.attacks.process import AttackState, Images, LogitsOf, advance
from racl_tf.evaluation.task import EvaluationTask

NOT_FOUND = -1


class Outcome(NamedTuple):
    """How one run of an attack on one image ended.

    Arguments:
        image: its index.
        run: the number of the run, from 0.
        steps: after how many steps an adversarial image was found, or `NOT_FOUND`.
        finite: whether the model's outputs for that image are finite; if not, that is why it counts as misclassified.
        adversarial: that image, float32 (H, W, C), where it was asked for.
    """

    image: int
    run: int
    steps: int
    finite: bool = True
    adversarial: np.ndarray | None = None


class Batch(NamedTuple):
    """Images under attack.

    Arguments:
        images: what they are attacked with.
        count: the number of steps that each has made, int32 (B,).
        state: of the attack.
    """

    images: Images
    count: tf.Tensor
    state: AttackState


def run_attack(
    task: EvaluationTask, attack: Attack, pending: Iterable[tuple[int, int]], *, seed: int, keep_images: bool = False
) -> Iterator[tuple[list[Outcome], int]]:
    """Runs an attack on images until for each an adversarial image is found or all runs are made; yields as it goes.

    A run on an image ends at the first step that shows a misclassified image to the model. The image then leaves
    the batch and a pending one takes its place, so that batches are of full size until nothing is pending; from
    there on their size is halved as images leave. No size is traced anew.

    Arguments:
        task: the classifier and its images.
        attack: not targeted.
        pending: indices of images, each with the run to begin with (0 for an image not attacked before).
        seed: of the noise, which depends on it, the image's index and the run alone.
        keep_images: whether outcomes hold the adversarial images.

    Yields:
        The outcomes that are new, one for each finished run, and the number of steps made in runs that are not.
    """
    runs = attack.runs(task.classes)
    limit = min(max(attack.steps // 25, 1), 25)  # steps between two looks at what was found
    seed_pair = seeding.fold(seed, "attack")
    queue, rows = deque(pending), np.zeros((0, 2), int)
    batch: Any = None  # the `Batch` of the rows
    while queue or len(rows):
        if queue and len(rows) < task.batch_size:
            new = np.array([queue.popleft() for _ in range(min(task.batch_size - len(rows), len(queue)))])
            fresh = _begin(task, attack, new, seed_pair)
            batch = tf.nest.map_structure(lambda *pair: tf.concat(pair, 0), batch, fresh) if len(rows) else fresh
            rows = np.concatenate([rows, new])
        values = attack.dynamic_values
        count, state = task.classifier.call(_advance, attack.static, batch, limit=limit, values=values)
        batch = batch._replace(count=count, state=state)
        count, is_adversarial = count.numpy(), state.is_adversarial.numpy()
        finished = is_adversarial | (count > attack.steps)
        fresh_ends = np.flatnonzero(finished & (rows[:, 0] >= 0))
        finite = _outputs_are_finite(task, state.adversarial, fresh_ends[is_adversarial[fresh_ends]])
        outcomes = [
            Outcome(
                int(rows[row, 0]),
                int(rows[row, 1]),
                int(count[row]) if is_adversarial[row] else NOT_FOUND,
                finite.get(row, True),
            )
            for row in fresh_ends.tolist()
        ]
        if keep_images:
            shown = {int(rows[row, 0]): state.adversarial[row].numpy() for row in fresh_ends if is_adversarial[row]}
            outcomes = [end._replace(adversarial=shown.get(end.image)) for end in outcomes]
        yield outcomes, int(count[~finished].sum())
        queue.extend((end.image, end.run + 1) for end in outcomes if end.steps == NOT_FOUND and end.run + 1 < runs)
        rows[finished] = -1
        kept = _kept(finished, bool(queue))
        if len(kept) < len(rows):
            rows, batch = rows[kept], tf.nest.map_structure(lambda values, kept=kept: tf.gather(values, kept), batch)


def _outputs_are_finite(task: EvaluationTask, images: tf.Tensor, rows: np.ndarray) -> dict[int, bool]:
    """Returns for rows of images whether the model has finite outputs for them."""
    if not len(rows):
        return {}
    logits = task.classifier.logits(tf.gather(images, rows))
    return dict(zip(rows.tolist(), np.isfinite(logits).all(axis=1).tolist(), strict=True))


def _kept(finished: np.ndarray, more: bool) -> np.ndarray:
    """Returns the rows to go on with: those that move and, if no more are pending, finished ones to fill up a half."""
    moving, done = np.flatnonzero(~finished), np.flatnonzero(finished)
    if more or not len(moving):
        return moving
    size = len(finished)
    while size // 2 >= len(moving):
        size //= 2
    return np.concatenate([moving, done[: size - len(moving)]])


def _begin(task: EvaluationTask, attack: Attack, rows: np.ndarray, seed: tf.Tensor) -> Batch:
    index, run = rows.T
    y = task.labels[index]
    arrays = {
        "x": task.images(index),
        "y": y,
        "target": attack.target(task.ranked[index], y, run),
        "index": index.astype(np.int32),
        "run": run.astype(np.int32),
    }
    return task.classifier.call(_started, attack.static, arrays, seed=seed, values=attack.dynamic_values)


def _started(
    static: StaticAttack,
    logits_of: LogitsOf,
    arrays: dict[str, tf.Tensor],
    *,
    seed: tf.Tensor,
    values: dict[str, tf.Tensor],
) -> Batch:
    seeds = run_seeds(image_seeds(seed, arrays["index"]), arrays["run"])
    images = Images(arrays["x"], arrays["y"], arrays["target"], seeds)
    return Batch(images, tf.zeros_like(arrays["y"]), static.bind(values).process(logits_of).start(images))


def _advance(
    static: StaticAttack, logits_of: LogitsOf, batch: Batch, *, limit: tf.Tensor, values: dict[str, tf.Tensor]
) -> tuple[tf.Tensor, AttackState]:
    attack = static.bind(values)
    return advance(attack.process(logits_of), *batch, steps=attack.steps, limit=limit)
