"""AutoAttack, standard version, beside the public PyTorch code: robust accuracies after every stage, and the time.

Both attack the same images by the same network: a small one or that of a genotype, which is first trained
adversarially here, or a Keras model from a file, of plain layers or of a genotype. Its weights are carried over to
PyTorch, and the logits there are compared. Each side draws its own noise, so robust accuracies may differ by a few
images.
"""

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from absl import flags

import racl_tf
from benchmarks.plain_layers import described
from benchmarks.program import Report, run
from benchmarks.sides import FLAGS, for_pytorch  # with --torch_python and --pcdarts
from benchmarks.timing import Worker
from racl_tf.attacks import Attack, pgd
from racl_tf.attacks.autoattack import autoattack
from racl_tf.attacks.losses import cross_entropy
from racl_tf.errors import UsageError
from racl_tf.networks import GenotypeNetwork
from racl_tf.networks.pytorch import to_pytorch

flags.DEFINE_string("autoattack", None, "A checkout of github.com/fra31/auto-attack.")
flags.DEFINE_string("dataset", "mnist", "What is attacked, a name that racl_tf.load_dataset takes.")
flags.DEFINE_string("data_dir", None, "The TFDS folder with the dataset.")
flags.DEFINE_string(
    "model", None, "A .keras file of plain layers in one row or of a genotype's network, instead of training a network."
)
flags.DEFINE_string("genotype", None, "An architecture, whose network is trained instead of the small one.")
flags.DEFINE_integer("channels", 16, "The channels of a genotype's network.")
flags.DEFINE_integer("cells", 5, "The cells of a genotype's network.")
flags.DEFINE_integer("epochs", 4, "The epochs of adversarial training.")
flags.DEFINE_integer("train_images", 20000, "The images to train on.")
flags.DEFINE_integer("images", 200, "The test images attacked.")
flags.DEFINE_integer("batch", 100, "The images attacked together.")
flags.DEFINE_float("linf", 0.2, "The radius for L-infinity.")
flags.DEFINE_float("l2", 1.5, "The radius for L2.")
flags.DEFINE_integer("steps", 100, "The most steps of a run of APGD or FAB; 100 is the standard.")
flags.DEFINE_integer("queries", 5000, "The most queries of Square; 5000 is the standard.")

THEIRS = "PyTorch"
STAGES = ("APGD-CE", "APGD-T", "FAB-T", "Square")
Standing = dict[str, np.ndarray]


class Ours:
    """racl_tf's AutoAttack on a network."""

    def __init__(self, network: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
        self.network, self.x, self.y = network, x, y

    def plan(self, norm: str) -> tuple[Attack, ...]:
        most = (FLAGS.steps, FLAGS.steps, FLAGS.steps, FLAGS.queries)
        standard: Any = autoattack(FLAGS.linf if norm == "linf" else FLAGS.l2, norm)
        return tuple(
            dataclasses.replace(attack, steps=min(attack.steps, steps))
            for attack, steps in zip(standard, most, strict=True)
        )

    def attack(self, norm: str) -> tuple[Standing, float]:
        """Returns which images stand after each stage, and the seconds that all took, graphs included."""
        plan, start = self.plan(norm), time.perf_counter()
        evaluation = racl_tf.evaluate(
            self.network, (self.x, self.y), {"autoattack": plan}, batch_size=FLAGS.batch, progress=False
        )
        seconds = time.perf_counter() - start
        classes = self.network(self.x[:1]).shape[-1]
        ends = np.cumsum([attack.runs(classes) for attack in plan])
        passed = evaluation.outcomes["autoattack"].passed
        return {stage: evaluation.clean & (passed >= end) for stage, end in zip(STAGES, ends, strict=True)}, seconds

    def raise_loss(self, norm: str) -> np.ndarray:
        """Returns all images after APGD on cross-entropy."""
        return self.plan(norm)[0](self.network, self.x, self.y)

    def close(self) -> None:
        pass


class Theirs:
    """The public AutoAttack on the same network, in a process of its own; as `Ours`."""

    def __init__(self, network: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
        self._folder = tempfile.TemporaryDirectory()
        made_of, arrays = _of_cells(network) if isinstance(network, GenotypeNetwork) else described(network)
        np.savez(pathlib.Path(self._folder.name) / "network.npz", x=x, y=y, **arrays)  # type: ignore[arg-type]
        case = {"checkout": FLAGS.autoattack, "folder": self._folder.name, "network": made_of}
        case |= {name: FLAGS[name].value for name in ("steps", "queries", "batch")}
        case["eps"] = {norm: FLAGS[norm].value for norm in ("linf", "l2")}
        self._worker = Worker(FLAGS.torch_python, "benchmarks.autoattack_side", case)

    @property
    def logits(self) -> np.ndarray:
        return self._found()["logits"]

    def attack(self, norm: str) -> tuple[Standing, float]:
        seconds = sum(self._worker.measure(f"{norm} {stage}")() for stage in STAGES)
        found = self._found()
        return {stage: found[f"{norm} {stage}"] for stage in STAGES}, seconds

    def raise_loss(self, norm: str) -> np.ndarray:
        self._worker.measure(f"{norm} loss")()
        return self._found()[f"{norm} moved"]

    def close(self) -> None:
        self._worker.close()
        self._folder.cleanup()

    def _found(self) -> dict[str, np.ndarray]:
        self._worker.measure("write")()
        with np.load(pathlib.Path(self._folder.name) / "found.npz") as file:
            return dict(file)


def _of_cells(network: GenotypeNetwork) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns how PC-DARTS's code makes the network, and its state dict."""
    if not FLAGS.pcdarts:
        raise UsageError(
            "In PyTorch the network of a genotype is made by PC-DARTS's code. Add --pcdarts=CHECKOUT "
            "(git clone https://github.com/yuhuixu1993/PC-DARTS)."
        )
    size = {"channels": network.channels, "cells": len(network.cells), "classes": network.num_classes}
    made_of = {"checkout": FLAGS.pcdarts, "network": {**size, "genotype": for_pytorch(network.genotype)}}
    return made_of | {"mean": network.spec.mean, "std": network.spec.std}, to_pytorch(network)


def make_network(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Returns a network that has 0.3 million parameters for images of 28x28 pixels."""
    layers: list[keras.Layer] = []
    for channels in (32, 64):
        layers += [keras.layers.Conv2D(channels, 3, 2, "same", use_bias=False), keras.layers.BatchNormalization()]
        layers += [keras.layers.ReLU()]
    head = [keras.layers.Flatten(), keras.layers.Dense(100, "relu"), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input(shape), *layers, *head])


def train(network: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    """Trains on images attacked by PGD-7 for L-infinity."""
    trainer = racl_tf.AdversarialTrainer(network, pgd(FLAGS.linf, FLAGS.linf / 4, 7))
    trainer.compile(keras.optimizers.Adam(1e-3))
    trainer.fit(x, y, batch_size=100, epochs=FLAGS.epochs, verbose=2)


def measure(report: Report) -> None:
    keras.utils.set_random_seed(0)
    sizes = {"train_size": FLAGS.train_images, "test_size": FLAGS.images}
    data = racl_tf.load_dataset(FLAGS.dataset, data_dir=FLAGS.data_dir, **sizes)
    if FLAGS.model:
        network = keras.models.load_model(FLAGS.model)
    else:
        network = (
            GenotypeNetwork(FLAGS.genotype, data.spec, channels=FLAGS.channels, cells=FLAGS.cells)
            if FLAGS.genotype
            else make_network(data.input_shape, data.num_classes)
        )
        train(network, data.train.images(), data.train.y)
    report.add("parameters", [network.count_params() / 1e6], "million")
    x, y = data.test.images(), data.test.y
    logits = network.predict(x, verbose=0)
    report.add("clean accuracy", [float(np.mean(logits.argmax(axis=1) == y))], "")
    compared: dict[str, Ours | Theirs] = {"ours": Ours(network, x, y)}
    if FLAGS.autoattack and FLAGS.torch_python:
        theirs = compared[THEIRS] = Theirs(network, x, y)
        report.add("logits, largest difference", [float(np.abs(theirs.logits - logits).max())], "")
    else:
        report.skip(
            f"{THEIRS}, without --autoattack (git clone https://github.com/fra31/auto-attack) and --torch_python "
            "(an interpreter after pip install torch numpy)."
        )
    for norm in ("linf", "l2"):
        compare(report, norm, compared, lambda moved: mean_loss(network, moved, y))
    for side in compared.values():
        side.close()


def compare(
    report: Report, norm: str, compared: dict[str, Ours | Theirs], loss_of: Callable[[np.ndarray], float]
) -> None:
    """Measures the ensemble, and the loss that its first attack alone reaches on all images."""
    seconds, losses = {}, {}
    for name, side in compared.items():
        standing, seconds[name] = side.attack(norm)
        for stage, stands in standing.items():
            report.add(f"{norm}, {name}, robust accuracy after {stage}", [float(np.mean(stands))], "")
        report.add(f"{norm}, {name}", [seconds[name]], "s")
        losses[name] = loss_of(side.raise_loss(norm))
        report.add(f"{norm}, {name}, loss by APGD-CE alone", [losses[name]], "")
    if THEIRS in compared:
        report.add_ratio(f"{norm}, time of ours / {THEIRS}", [seconds["ours"]], [seconds[THEIRS]])
        report.add_ratio(f"{norm}, loss of ours / {THEIRS}", [losses["ours"]], [losses[THEIRS]])


def mean_loss(network: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(cross_entropy(network(x), y)))


if __name__ == "__main__":
    tiny = {"images": 12, "batch": 12, "steps": 5, "queries": 20, "linf": 0.05, "l2": 0.3}
    run(measure, quick={"dataset": "digits", "train_images": 500, "epochs": 2, **tiny})
