"""What sampling architectures found: which there are, their figures, and how far the draws agree."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from racl_tf.attacks import Attack
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.lipschitz.bounds import LipschitzPair
from racl_tf.result import Result
from racl_tf.space import EDGES, INPUTS, OPERATIONS, Genotype
from racl_tf.tables import TextTable

_CELLS = ("normal", "reduce")


def operations_of(genotype: Genotype) -> np.ndarray:
    """Returns the index in `OPERATIONS` of what a selected genotype has on each edge (2, 14): 0, none, if left out.

    The order of a node's edges, which changes nothing in a network, is forgotten.
    """
    operations = np.zeros([len(_CELLS), len(EDGES)], int)
    for row, cell in zip(operations, (genotype.normal, genotype.reduce), strict=True):
        for node, edges in enumerate(cell.nodes, start=INPUTS):
            for operation, source in edges:
                row[EDGES.index((source, node))] = OPERATIONS.index(operation)
    return operations


@dataclass(frozen=True)
class SampledArchitecture:
    """An architecture that was drawn, and what the supernet's weights make of it.

    Arguments:
        genotype: the architecture.
        drawn: how many of the samples it is.
        median: whether it is what the medians select.
        clean: number of images classified correctly.
        robust: number of these that are robust to the attack.
        bounds: of its Lipschitz constant; None where they were not measured.
    """

    genotype: Genotype
    drawn: int
    median: bool
    clean: int
    robust: int
    bounds: LipschitzPair | None = None


@dataclass(frozen=True, eq=False)
class SamplingResult(Result):
    """The sampled architectures, the best one first, and how often the samples select what.

    Arguments:
        architectures: from the best to the worst; the one that the medians select is among them.
        shares: of the samples that have an operation on an edge (2, 14, 8): of none that leave the edge out.
        samples: number of architectures drawn.
        images: number of images that accuracies were measured on.
        attack: that robust accuracy was measured under.
        seed: of the draws and the attack's noise.
    """

    architectures: tuple[SampledArchitecture, ...]
    shares: np.ndarray
    samples: int
    images: int
    attack: Attack
    seed: int

    @property
    def genotype(self) -> Genotype:
        """The best architecture."""
        return self.architectures[0].genotype

    @property
    def kept(self) -> np.ndarray:
        """The share of samples that keep each edge (2, 14)."""
        return 1 - self.shares[..., 0]

    @property
    def agreement(self) -> np.ndarray:
        """The share of samples that treat each edge as the best architecture does (2, 14).

        They have the same operation there or, where it leaves the edge out, leave it out too.
        """
        return self._agreement(self.genotype)

    def overall_agreement(self, architecture: SampledArchitecture | None = None) -> float:
        """Returns the mean share of samples that have an architecture's operations, over the edges that it keeps.

        Arguments:
            architecture: the best one by default.
        """
        genotype = self.genotype if architecture is None else architecture.genotype
        return float(self._agreement(genotype)[operations_of(genotype) > 0].mean())

    def _agreement(self, genotype: Genotype) -> np.ndarray:
        return np.take_along_axis(self.shares, operations_of(genotype)[..., None], -1)[..., 0]

    def edges(self) -> list[dict[str, Any]]:
        """Returns a row for each edge of the best architecture: how many samples keep it, with which operations."""
        median = next(operations_of(one.genotype) for one in self.architectures if one.median)
        best, kept, agreement = operations_of(self.genotype), self.kept, self.agreement
        return [
            {
                "cell": _CELLS[cell],
                "source": EDGES[edge][0],
                "node": EDGES[edge][1],
                "operation": OPERATIONS[best[cell, edge]],
                "kept": float(kept[cell, edge]),
                "agreement": float(agreement[cell, edge]),
                "median": OPERATIONS[median[cell, edge]],
            }
            for cell, edge in np.argwhere(best > 0)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures with what they were measured by, ready for JSON (an infinite bound becomes None)."""

        def accuracy(count: int) -> dict[str, Any]:
            return {
                "correct": count,
                "accuracy": count / self.images,
                "interval": wilson_interval(count, self.images),
            }

        def figures(architecture: SampledArchitecture) -> dict[str, Any]:
            row = {
                "drawn": architecture.drawn,
                "median": architecture.median,
                "agreement": self.overall_agreement(architecture),
                "clean": accuracy(architecture.clean),
                "robust": accuracy(architecture.robust),
            }
            if (bounds := architecture.bounds) is not None:
                row |= {"lower": bounds.lower, "upper": bounds.upper if math.isfinite(bounds.upper) else None}
            return row | {"genotype": json.loads(architecture.genotype.to_json())}

        return {
            "samples": self.samples,
            "images": self.images,
            "seed": self.seed,
            "attack": self.attack.to_dict(),
            "agreement": self.overall_agreement(),
            "candidates": [figures(architecture) for architecture in self.architectures],
            "edges": self.edges(),
            "shares": self.shares.tolist(),
        }

    def table(self) -> TextTable:
        """Returns the architectures as a table, the best one first."""
        count, rows = len(self.architectures), []
        for rank, architecture in enumerate(self.architectures, start=1):
            low, high = wilson_interval(architecture.robust, self.images)
            bounds = architecture.bounds
            rows.append(
                (
                    f"{rank}{' (median)' if architecture.median else ''}",
                    str(architecture.drawn),
                    f"{100 * self.overall_agreement(architecture):.1f}",
                    f"{100 * architecture.clean / self.images:.2f}",
                    f"{100 * architecture.robust / self.images:.2f}",
                    f"{100 * low:.2f} to {100 * high:.2f}",
                    *(("", "") if bounds is None else (f"{bounds.lower:.3g}", f"{bounds.upper:.3g}")),
                )
            )
        return TextTable(
            f"{count} architectures of {self.samples} samples, {self.images} images, seed {self.seed}",
            ("architecture", "drawn", "agreement %", "clean %", "robust %", "95% interval", "Lipschitz from", "to"),
            tuple(rows),
            left=("architecture",),
        )

    def edge_table(self) -> TextTable:
        """Returns as a table how many samples keep what the best architecture keeps."""
        rows = (
            (
                row["cell"],
                f"{row['source']} -> {row['node']}",
                row["operation"],
                f"{100 * row['kept']:.1f}",
                f"{100 * row['agreement']:.1f}",
                row["median"],
            )
            for row in self.edges()
        )
        return TextTable(
            f"edges of the chosen architecture: {100 * self.overall_agreement():.1f}% agreement overall",
            ("cell", "edge", "operation", "kept %", "with this operation %", "by the median"),
            tuple(rows),
            left=("cell", "edge", "operation", "by the median"),
        )

    def __str__(self) -> str:
        return f"{self.table()}\n{self.edge_table()}\n{self.genotype}\n"
