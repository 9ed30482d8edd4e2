"""What an evaluation found: which images stand under which attack, and the figures made of that."""

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from rich import box
from rich.table import Table

from racl_tf.attacks import Attack
from racl_tf.errors import unknown
from racl_tf.evaluation.attack_loop import NOT_FOUND
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.files import write_json
from racl_tf.tables import as_text
from racl_tf.version import __version__

WORST_CASE = "worst_case"
Plan = tuple[Attack, ...]


class AttackOutcomes(NamedTuple):
    """What became of each image under the attacks of one name.

    Arguments:
        passed: the number of runs that the image stood, int32 (N,), counted over all attacks, restarts and targets.
        steps: after how many steps of the next run it fell, int32 (N,); `NOT_FOUND` if it has not fallen.
    """

    passed: np.ndarray
    steps: np.ndarray

    @property
    def stands(self) -> np.ndarray:
        """The images that have not fallen, bool (N,)."""
        return self.steps == NOT_FOUND


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Which images were still classified correctly, by name.

    The names are "clean", those of the attacks and "worst_case", which is every attack at once.
    Clean accuracy, robust accuracy and the success rate of an attack are three different figures.

    Arguments:
        labels: true labels, int32 (N,).
        predictions: classes predicted for the clean images, int32 (N,).
        classes: the number of classes.
        fates: of each image under the attacks of each name; those of images misclassified clean mean nothing.
        attacks: the attacks by name; several by one name are an ensemble.
        seed: of the attacks' noise.
    """

    labels: np.ndarray
    predictions: np.ndarray
    classes: int
    fates: dict[str, AttackOutcomes]
    attacks: dict[str, Plan]
    seed: int

    @property
    def clean(self) -> np.ndarray:
        """The images that are correct clean, bool (N,)."""
        return self.predictions == self.labels

    @property
    def correct(self) -> dict[str, np.ndarray]:
        """For "clean" and every name which images stand, bool (N,); one that is misclassified clean never does."""
        return {"clean": self.clean} | {name: self.clean & fates.stands for name, fates in self.fates.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """All names there are figures for, in the order of the table."""
        return ("clean", *self.fates, WORST_CASE)

    @property
    def worst_case(self) -> np.ndarray:
        """The images that are correct clean and under every attack, bool (N,)."""
        return np.logical_and.reduce(list(self.correct.values()))

    def count(self, name: str) -> int:
        """Returns the number of images that stand under `name`."""
        if name not in self.names:
            raise unknown("attack", name, self.names)
        return int(np.sum(self.worst_case if name == WORST_CASE else self.correct[name]))

    def accuracy(self, name: str = "clean") -> float:
        """Returns the share of all images that stand under `name`: robust accuracy, or clean accuracy for "clean"."""
        return self.count(name) / len(self.labels)

    def interval(self, name: str = "clean") -> tuple[float, float]:
        """Returns the 95% Wilson interval of `accuracy(name)`."""
        return wilson_interval(self.count(name), len(self.labels))

    def stages(self, name: str) -> list[int]:
        """Returns how many images stand after each attack of an ensemble, the last being `count(name)`."""
        ends = np.cumsum([attack.runs(self.classes) for attack in self.attacks[name]])
        return [int(np.sum(self.clean & (self.fates[name].passed >= end))) for end in ends]

    def success_rate(self, name: str) -> float:
        """Returns the share of the images correct clean that fell to `name`; NaN if none was correct."""
        standing, attacked = self.count(name), self.count("clean")
        return 1 - standing / attacked if attacked else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures with what they were measured by, ready for JSON (a rate that is NaN becomes None)."""

        def figures(name: str) -> dict[str, Any]:
            row = {"correct": self.count(name), "accuracy": self.accuracy(name), "interval": self.interval(name)}
            if name != "clean":
                row["success_rate"] = self.success_rate(name) if self.count("clean") else None
            if name in self.attacks:
                stages = zip(self.attacks[name], self.stages(name), strict=True)
                row["attacks"] = [attack.to_dict() | {"correct_after": left} for attack, left in stages]
            return row

        return {
            "images": len(self.labels),
            "classes": self.classes,
            "seed": self.seed,
            "versions": library_versions(),
            "results": {name: figures(name) for name in self.names},
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns labels, predictions and fates by name, as outcomes.npz holds them: "NAME/passed" and "NAME/steps"."""
        fates = {f"{name}/{key}": rows for name, fate in self.fates.items() for key, rows in fate._asdict().items()}
        return {"labels": self.labels, "predictions": self.predictions} | fates

    def table(self) -> Table:
        """Returns the figures as a table for the terminal."""
        table = Table(title=f"{len(self.labels)} images, seed {self.seed}", box=box.ASCII2)
        table.add_column("attack")
        for heading in ("correct", "accuracy %", "95% interval", "success rate %"):
            table.add_column(heading, justify="right")
        for name in self.names:
            low, high = self.interval(name)
            success = "" if name == "clean" else f"{100 * self.success_rate(name):.2f}"
            accuracy = f"{100 * self.accuracy(name):.2f}"
            table.add_row(name, str(self.count(name)), accuracy, f"{100 * low:.2f} to {100 * high:.2f}", success)
            if len(plan := self.attacks.get(name, ())) > 1:
                for attack, left in zip(plan, self.stages(name), strict=True):
                    table.add_row(f"  after {attack.title}", str(left), f"{100 * left / len(self.labels):.2f}", "", "")
        return table

    def __str__(self) -> str:
        return as_text(self.table())


def save_results(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Writes `evaluation.to_dict()` to a JSON file, atomically."""
    write_json(path, evaluation.to_dict())


def library_versions() -> dict[str, str]:
    """Returns the versions that figures depend on, by library."""
    return {"racl_tf": __version__, "tensorflow": tf.__version__, "keras": keras.__version__}
