"""What an evaluation found: which images are robust to which attack, and the figures made of that."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from racl_tf.attacks import Attack
from racl_tf.errors import unknown
from racl_tf.evaluation.attack_loop import NOT_FOUND
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.result import Result
from racl_tf.tables import TextTable, format_radius
from racl_tf.version import library_versions

WORST_CASE = "worst_case"
Plan = tuple[Attack, ...]


def balls(attacks: Iterable[Attack]) -> tuple[str, ...]:
    """Returns the balls that attacks stay in, for people: one if they are all alike."""
    return tuple(dict.fromkeys(f"{attack.norm} eps {format_radius(attack.eps)}" for attack in attacks))


class AttackOutcomes(NamedTuple):
    """What became of each image under the attacks of one name.

    Arguments:
        passed: the number of runs that found no adversarial image, int32 (N,), over all attacks, restarts and targets.
        steps: after how many steps of the next run one was found, int32 (N,); `NOT_FOUND` if none was.
    """

    passed: np.ndarray
    steps: np.ndarray

    @property
    def is_robust(self) -> np.ndarray:
        """For which images no adversarial image was found, bool (N,)."""
        return self.steps == NOT_FOUND

    @property
    def is_adversarial(self) -> np.ndarray:
        """For which images an adversarial image was found, bool (N,)."""
        return ~self.is_robust

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Returns the arrays as outcomes.npz holds those of one name: "NAME/passed" and "NAME/steps"."""
        return {f"{name}/{field}": values for field, values in self._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], name: str) -> Self:
        """Returns the outcomes that outcomes.npz holds under one name."""
        return cls(*(arrays[f"{name}/{field}"] for field in cls._fields))


@dataclass(frozen=True, eq=False)
class Evaluation(Result):
    """Which images are classified correctly, clean and under attack, by name.

    The names are "clean", those of the attacks and "worst_case", which is every attack at once.
    Clean accuracy, robust accuracy and the success rate of an attack are three different figures.

    Arguments:
        labels: true labels, int32 (N,).
        predictions: classes predicted for the clean images, int32 (N,).
        classes: the number of classes.
        outcomes: of each image under the attacks of each name; those of images misclassified clean mean nothing.
        attacks: the attacks by name; several by one name are an ensemble.
        seed: of the attacks' noise.
    """

    labels: np.ndarray
    predictions: np.ndarray
    classes: int
    outcomes: Mapping[str, AttackOutcomes]
    attacks: Mapping[str, Plan]
    seed: int

    @property
    def clean(self) -> np.ndarray:
        """The images that are correct clean, bool (N,)."""
        return self.predictions == self.labels

    @property
    def correct(self) -> dict[str, np.ndarray]:
        """For "clean" and every name which images are correct, bool (N,): robust ones that are correct clean."""
        return {"clean": self.clean} | {name: self.clean & found.is_robust for name, found in self.outcomes.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """All names there are figures for, in the order of the table."""
        return ("clean", *self.outcomes, WORST_CASE)

    @property
    def worst_case(self) -> np.ndarray:
        """The images that are correct clean and under every attack, bool (N,)."""
        return np.logical_and.reduce(list(self.correct.values()))

    def count(self, name: str) -> int:
        """Returns the number of images that are correct under `name`."""
        if name not in self.names:
            raise unknown("attack", name, self.names)
        return int(np.sum(self.worst_case if name == WORST_CASE else self.correct[name]))

    def accuracy(self, name: str = "clean") -> float:
        """Returns the share of all images that are correct under `name`: robust accuracy, or clean for "clean"."""
        return self.count(name) / len(self.labels)

    def interval(self, name: str = "clean") -> tuple[float, float]:
        """Returns the 95% Wilson interval of `accuracy(name)`."""
        return wilson_interval(self.count(name), len(self.labels))

    def stages(self, name: str) -> list[int]:
        """Returns how many images are correct after each attack of an ensemble, the last being `count(name)`."""
        ends = np.cumsum([attack.runs(self.classes) for attack in self.attacks[name]])
        return [int(np.sum(self.clean & (self.outcomes[name].passed >= end))) for end in ends]

    def success_rate(self, name: str) -> float:
        """Returns the share of the images correct clean that `name` made adversarial; NaN if none was correct."""
        num_robust, attacked = self.count(name), self.count("clean")
        return 1 - num_robust / attacked if attacked else float("nan")

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

    def table(self) -> TextTable:
        """Returns the figures as a table, a row for each name and each attack of an ensemble."""
        rows = []
        for name in self.names:
            low, high = self.interval(name)
            success = "" if name == "clean" else f"{100 * self.success_rate(name):.2f}"
            accuracy = f"{100 * self.accuracy(name):.2f}"
            rows.append((name, str(self.count(name)), accuracy, f"{100 * low:.2f} to {100 * high:.2f}", success))
            if len(plan := self.attacks.get(name, ())) > 1:
                for attack, left in zip(plan, self.stages(name), strict=True):
                    rows.append((f"  after {attack.title}", str(left), f"{100 * left / len(self.labels):.2f}", "", ""))
        return TextTable(
            ", ".join(
                (f"{len(self.labels)} images", *balls(itertools.chain(*self.attacks.values())), f"seed {self.seed}")
            ),
            ("attack", "correct", "accuracy %", "95% interval", "success rate %"),
            tuple(rows),
            left=("attack",),
        )

    def __str__(self) -> str:
        return str(self.table())
