"""Times an evaluation by PGD-100, which attacks only what stands, beside the bare passes on all images.

The bound makes 100 forward and input-gradient passes on every image that is correct clean and no attack. The radius is
chosen so that about half of the images stand. That the outcome is the same is checked against an attack that makes
all steps on all images and notes every image's first misclassified step.
"""

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.attacks import bound, make_network
from benchmarks.program import Report, run
from benchmarks.timing import interleave, timed
from racl_tf.attacks import GradientAttack, image_seeds, pgd
from racl_tf.attacks.process import Images
from racl_tf.evaluation import evaluate
from racl_tf.seeding import fold

FLAGS = flags.FLAGS
flags.DEFINE_integer("images", 512, "The images evaluated.")
flags.DEFINE_integer("batch_size", 64, "The images attacked together.")
flags.DEFINE_integer("length", 100, "The steps of PGD.")
flags.DEFINE_integer("channels", 32, "The channels of the network.")


def standing(model: keras.Model, data: tuple[np.ndarray, np.ndarray], attack: GradientAttack) -> np.ndarray:
    result = evaluate(model, data, {"pgd": attack}, batch_size=FLAGS.batch_size, progress=False)
    return result.correct["pgd"]


def attack_of(eps: float, steps: int) -> GradientAttack:
    return pgd(eps, eps / 4, steps)


def radius(model: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> float:
    """Returns a radius at which about half of the images stand, by bisection on a tenth of the steps."""
    low, high = 0.0, 0.2
    for _ in range(8):
        eps = (low + high) / 2
        half = standing(model, data, attack_of(eps, max(FLAGS.length // 10, 1))).mean() > 0.5
        low, high = (eps, high) if half else (low, eps)
    return low


def every_step(model: keras.Model, data: tuple[np.ndarray, np.ndarray], attack: GradientAttack) -> np.ndarray:
    """Returns which images no step of the attack breaks, making all of them."""
    x, y = data
    stands = np.ones(len(y), bool)
    process = attack.process(model)
    step = tf.function(process.step, autograph=False)
    for start in range(0, len(y), FLAGS.batch_size):
        rows = np.arange(start, min(start + FLAGS.batch_size, len(y)))
        seeds = image_seeds(fold(0, "attack"), tf.constant(rows, tf.int32))
        images = Images(tf.constant(x[rows]), tf.constant(y[rows]), tf.constant(y[rows]), seeds)
        state = process.start(images)
        for count in range(attack.steps + 1):
            state = step(images, tf.fill([len(rows)], count), state)
            stands[rows] &= ~state.is_adversarial.numpy()
    return stands


def measure(report: Report) -> None:
    keras.utils.set_random_seed(0)
    model = make_network(FLAGS.channels)
    x = np.random.default_rng(0).uniform(size=[FLAGS.images, 32, 32, 3]).astype(np.float32)
    data = x, np.argmax(model.predict(x, verbose=0), -1).astype(np.int32)
    eps = radius(model, data)
    attack = attack_of(eps, FLAGS.length)
    ours, plain = standing(model, data, attack), every_step(model, data, attack)
    report.add("radius", [eps], "")
    report.add("standing, of all images", [ours.mean()], "")
    report.add("same outcome with all steps on all images", [float((ours == plain).mean())], "")
    passes = bound(model, FLAGS.length)

    def all_passes() -> None:
        for start in range(0, FLAGS.images, FLAGS.batch_size):
            passes(data[0][start : start + FLAGS.batch_size], data[1][start : start + FLAGS.batch_size])

    measures = {
        "bare passes on all images": timed(all_passes),
        "evaluation": timed(lambda: standing(model, data, attack)),
    }
    seconds = interleave(measures, FLAGS.repeats, warmups=1)
    report.add_times(seconds)
    report.add_ratio("evaluation / bare passes", seconds["evaluation"], seconds["bare passes on all images"])


if __name__ == "__main__":
    run(measure, quick={"images": 16, "batch_size": 8, "length": 10, "channels": 8, "repeats": 2})
