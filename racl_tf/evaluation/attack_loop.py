"""Attacks on what still stands: an image that has fallen leaves its batch, and the next one takes its place."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from racl_tf import seeding
from racl_tf.attacks import Attack, image_seeds
from racl_tf.attacks.attack import run_seeds
from racl_tf.attacks.process import Images, LogitsOf, advance
from racl_tf.evaluation.task import EvaluationTask

STANDS = -1


class Outcome(NamedTuple):
    """How one run of an attack on one image ended: after how many steps it fell, or `STANDS`."""

    image: int
    run: int
    steps: int


def run_attack(
    subjects: EvaluationTask, attack: Attack, pending: Iterable[tuple[int, int]], *, seed: int
) -> Iterator[tuple[list[Outcome], int]]:
    """Runs an attack on images until each has fallen or has stood all runs, and yields as it goes.

    An image falls at the first step that shows a misclassified image to the model. It then leaves the batch
    and a pending one takes its place, so that batches are of full size until nothing is pending; from there
    on their size is halved as images leave. No size is traced anew.

    Arguments:
        subjects: the classifier and its images.
        attack: not targeted.
        pending: indices of images, each with the run to begin with (0 for an image not attacked before).
        seed: of the noise, which depends on it, the image's index and the run alone.

    Yields:
        The outcomes that are new, one for each finished run, and the number of steps made in runs that are not.
    """
    runs = attack.runs(subjects.classes)
    limit = min(max(attack.steps // 25, 1), 25)  # steps between two looks at what has fallen
    seed_pair = seeding.fold(seed, "attack")
    queue, rows, batch = deque(pending), np.zeros((0, 2), int), None
    while queue or len(rows):
        if queue and len(rows) < subjects.batch_size:
            new = np.array([queue.popleft() for _ in range(min(subjects.batch_size - len(rows), len(queue)))])
            fresh = _begin(subjects, attack, new, seed_pair)
            batch = fresh if batch is None else tf.nest.map_structure(lambda *pair: tf.concat(pair, 0), batch, fresh)
            rows = np.concatenate([rows, new])
        batch |= subjects.classifier.call(_advance, attack.form, batch, limit=limit, numbers=attack.numbers)
        count, broken = batch["count"].numpy(), batch["state"]["broken"].numpy()
        finished = broken | (count > attack.steps)
        fresh_ends = np.flatnonzero(finished & (rows[:, 0] >= 0))
        outcomes = [
            Outcome(int(rows[row, 0]), int(rows[row, 1]), int(count[row]) if broken[row] else STANDS)
            for row in fresh_ends
        ]
        yield outcomes, int(count[~finished].sum())
        queue.extend((end.image, end.run + 1) for end in outcomes if end.steps == STANDS and end.run + 1 < runs)
        rows[finished] = -1
        kept = _kept(finished, bool(queue))
        if len(kept) < len(rows):
            rows = rows[kept]
            batch = (
                tf.nest.map_structure(lambda values, kept=kept: tf.gather(values, kept), batch) if len(kept) else None
            )


def _kept(finished: np.ndarray, more: bool) -> np.ndarray:
    """Returns the rows to go on with: those that move and, if no more are pending, finished ones to fill up a half."""
    moving, done = np.flatnonzero(~finished), np.flatnonzero(finished)
    if more or not len(moving):
        return moving
    size = len(finished)
    while size // 2 >= len(moving):
        size //= 2
    return np.concatenate([moving, done[: size - len(moving)]])


def _begin(subjects: EvaluationTask, attack: Attack, rows: np.ndarray, seed: tf.Tensor) -> dict[str, Any]:
    index, run = rows.T
    y = subjects.labels[index]
    arrays = {
        "x": subjects.images(index),
        "y": y,
        "target": attack.target(subjects.ranked[index], y, run),
        "index": index.astype(np.int32),
        "run": run.astype(np.int32),
    }
    return dict(subjects.classifier.call(_started, attack.form, arrays, seed=seed, numbers=attack.numbers))


def _started(
    form: Attack, logits_of: LogitsOf, arrays: dict[str, tf.Tensor], *, seed: tf.Tensor, numbers: dict[str, tf.Tensor]
) -> dict[str, Any]:
    seeds = run_seeds(image_seeds(seed, arrays["index"]), arrays["run"])
    images = Images(arrays["x"], arrays["y"], arrays["target"], seeds)
    process, _ = form.motion(logits_of, numbers)
    return {"images": images, "count": tf.zeros_like(arrays["y"]), "state": process.start(images)}


def _advance(
    form: Attack, logits_of: LogitsOf, batch: dict[str, Any], *, limit: tf.Tensor, numbers: dict[str, tf.Tensor]
) -> dict[str, Any]:
    process, steps = form.motion(logits_of, numbers)
    count, state = advance(process, batch["images"], batch["count"], batch["state"], steps=steps, limit=limit)
    return {"count": count, "state": state}
