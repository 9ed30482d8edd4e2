"""Times FGSM, PGD and MIM beside Foolbox, CleverHans and ART, and beside a bound that nothing can beat.

The bound makes the same forward and input-gradient passes in one `tf.while_loop` and nothing else: no
projection, no checks, no momentum. Everybody attacks the same compiled model in one process; whoever takes the
model as a function is given it as a `tf.function`. The mean loss after each attack says that equal work was done.
"""

import importlib
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.attack_peers import EPS, PEERS, STEP_SIZE, Attacker
from benchmarks.program import Report, run
from benchmarks.timing import interleave, timed
from racl_tf import attacks

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 64, "The images attacked together.")
flags.DEFINE_integer("steps", 20, "The steps of PGD and MIM.")
flags.DEFINE_integer("width", 64, "The channels of the network: 64 gives 0.3 million parameters.")


def make_network(width: int) -> keras.Model:
    """Returns a convolutional network whose weights, random, are large enough that attacks tell apart."""
    convolutions = [
        keras.layers.Conv2D(channels, 3, strides, "same", activation="relu", kernel_initializer="he_normal")
        for channels, strides in ((width // 2, 1), (width, 2), (width * 2, 2), (width * 5 // 2, 1))
    ]
    head = keras.layers.Dense(10, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0))
    return keras.Sequential([keras.Input([32, 32, 3]), *convolutions, keras.layers.GlobalAveragePooling2D(), head])


def bound(model: Callable[..., tf.Tensor], steps: int) -> Attacker:
    """Returns the passes of an attack without the attack."""

    @tf.function(autograph=False)
    def run_passes(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        def step(moved: tf.Tensor) -> tuple[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(moved)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(moved))
            return (moved + tape.gradient(losses, moved),)

        return tf.while_loop(lambda _: True, step, (x,), maximum_iterations=steps)[0]

    return lambda x, y: run_passes(tf.constant(x), tf.constant(y)).numpy()


def ours(model: keras.Model, steps: int) -> dict[str, Attacker]:
    made = {
        "FGSM": attacks.fgsm(EPS),
        "PGD": attacks.pgd(EPS, STEP_SIZE, steps),
        "MIM": attacks.mim(EPS, STEP_SIZE, steps),
    }
    return {name: partial(attack, model) for name, attack in made.items()}


def measure(report: Report) -> None:
    keras.utils.set_random_seed(0)
    model = make_network(FLAGS.width)
    report.add("parameters", [model.count_params() / 1e6], "million")
    x = np.random.default_rng(0).uniform(size=[FLAGS.batch, 32, 32, 3]).astype(np.float32)
    y = np.argmax(model(x), -1).astype(np.int32)
    report.add("clean, loss", [mean_loss(model, x, y)], "")
    attackers = {"ours": ours(model, FLAGS.steps)}
    for name, (make, module, requirement) in PEERS.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            report.skip(f"{name} ({error}): pip install {requirement}, see benchmarks/README.md")
        else:
            attackers[name] = make(model, FLAGS.steps)
    for attack in ("FGSM", "PGD", "MIM"):
        compared = {"bound": bound(model, 1 if attack == "FGSM" else FLAGS.steps)}
        compared |= {name: made[attack] for name, made in attackers.items() if attack in made}
        compare(report, attack, compared, model, x, y)


def mean_loss(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    return float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x))))


def compare(
    report: Report, attack: str, compared: dict[str, Attacker], model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    for name in [name for name in compared if name != "bound"]:
        report.add(f"{attack}, {name}, loss", [mean_loss(model, compared[name](x, y), y)], "")
    measures = {name: timed(partial(attacker, x, y)) for name, attacker in compared.items()}
    seconds = interleave(measures, FLAGS.repeats)
    for name, values in seconds.items():
        report.add(f"{attack}, {name}", [len(x) / value for value in values], "images/s")
    for name in [name for name in compared if name != "ours"]:
        # Of speeds, as images/s are: the inverse of the ratio of times.
        report.add_ratio(f"{attack}, speed of ours / {name}", seconds[name], seconds["ours"])


if __name__ == "__main__":
    run(measure, quick={"batch": 4, "steps": 2, "width": 8, "repeats": 2})
