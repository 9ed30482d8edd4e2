"""Times a step of PGD adversarial training beside its parts measured alone: the attack's passes and one training step.

The parts are what cannot be saved: as many forward and input-gradient passes as the attack has steps, and one
plain training step. The ratio says what the attack's own work (start, projection, loop, noise) adds to them.
"""

import tensorflow as tf
from absl import flags

from benchmarks.program import Report, run
from benchmarks.tensorflow_side import constant_batches, random_batch, training_step
from benchmarks.timing import interleave, timed
from racl_tf import AdversarialTrainer, GenotypeNetwork, attacks

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 64, "The images of one batch.")
flags.DEFINE_integer("channels", 16, "C.")
flags.DEFINE_integer("cells", 5, "L.")
flags.DEFINE_integer("steps", 7, "The steps of PGD.")


def make_trainer(attack: attacks.GradientAttack | None) -> AdversarialTrainer:
    trainer = AdversarialTrainer(GenotypeNetwork("racl", channels=FLAGS.channels, cells=FLAGS.cells), attack)
    trainer.compile()
    return trainer


def measure(report: Report) -> None:
    images, labels = random_batch(FLAGS.batch)
    data = constant_batches((images, labels))
    plain = make_trainer(None)

    @tf.function(autograph=False)
    def input_gradient() -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, plain.network(images, training=False))
        return tape.gradient(losses, images)

    actions = {
        "adversarial step": training_step(make_trainer(attacks.pgd(8 / 255, 2 / 255, FLAGS.steps)), data),
        "attack pass": input_gradient,
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
