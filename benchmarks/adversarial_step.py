"""Times a step of PGD adversarial training beside its parts measured alone: the attack's passes and one training step.

The parts are what cannot be saved: as many forward and input-gradient passes as the attack has steps, and one
plain training step. The ratio says what the attack's own work (start, projection, loop, noise) adds to them.
"""

import functools

import tensorflow as tf
from absl import flags

from benchmarks.program import Report, run
from benchmarks.tensorflow_side import attack_pass, constant_batches, make_trainer, random_batch, training_step
from benchmarks.timing import interleave, timed
from racl_tf import attacks

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 64, "The images of one batch.")
flags.DEFINE_integer("channels", 16, "C.")
flags.DEFINE_integer("cells", 5, "L.")
flags.DEFINE_integer("steps", 7, "The steps of PGD.")


def measure(report: Report) -> None:
    images, labels = random_batch(FLAGS.batch)
    data = constant_batches((images, labels))
    make = functools.partial(make_trainer, FLAGS.channels, FLAGS.cells)
    plain = make(None)
    pass_once = tf.function(attack_pass, autograph=False)
    actions = {
        "adversarial step": training_step(make(attacks.pgd(8 / 255, 2 / 255, FLAGS.steps)), data),
        "attack pass": lambda: pass_once(plain.network, images, labels),
        "plain training step": training_step(plain, data),
    }
    seconds = interleave({name: timed(action) for name, action in actions.items()}, FLAGS.repeats)
    passes, training = seconds["attack pass"], seconds["plain training step"]
    parts = [FLAGS.steps * one_pass + step for one_pass, step in zip(passes, training, strict=True)]
    report.add_times(seconds)
    report.add(f"{FLAGS.steps} attack passes + 1 plain training step", parts, "s")
    report.add_ratio("adversarial step / parts", seconds["adversarial step"], parts)


if __name__ == "__main__":
    run(measure, quick={"batch": 4, "channels": 4, "cells": 1, "steps": 2, "repeats": 2})
