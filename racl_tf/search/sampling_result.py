"""What a choice among drawn architectures found: the candidates, their figures, and how far the draws agree."""

import json
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from racl_tf.attacks import Attack
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.files import write_json
from racl_tf.lipschitz.bounds import LipschitzPair
from racl_tf.space import EDGES, INPUTS, OPERATIONS, Genotype
from racl_tf.tables import as_text

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
        robust: number of these that stand the attack.
        bounds: of its Lipschitz constant; None where they were not measured.
    """

    genotype: Genotype
    drawn: int
    median: bool
    clean: int
    robust: int
    bounds: LipschitzPair | None = None


@dataclass(frozen=True, eq=False)
class SamplingResult:
    """The candidates, the chosen one first, and how often the samples select what.

    Arguments:
        candidates: from the best to the worst.
        shares: of the samples that have an operation on an edge (2, 14, 8): of none that leave the edge out.
        samples: number of architectures drawn.
        images: number of images that accuracies were measured on.
        attack: that robust accuracy was measured under.
        seed: of the draws and the attack's noise.
    """

    candidates: tuple[SampledArchitecture, ...]
    shares: np.ndarray
    samples: int
    images: int
    attack: Attack
    seed: int

    @property
    def genotype(self) -> Genotype:
        """The chosen architecture."""
        return self.candidates[0].genotype

    @property
    def kept(self) -> np.ndarray:
        """The share of samples that keep each edge (2, 14)."""
        return 1 - self.shares[..., 0]

    @property
    def agreement(self) -> np.ndarray:
        """The share of samples that treat each edge as the chosen architecture does (2, 14).

        They have the same operation there or, where it leaves the edge out, leave it out too.
        """
        return self._agreement(self.genotype)

    def overall_agreement(self, candidate: SampledArchitecture | None = None) -> float:
        """Returns the mean share of samples that have a candidate's operations, over the edges that it keeps.

        Arguments:
            candidate: the chosen one by default.
        """
        genotype = self.genotype if candidate is None else candidate.genotype
        return float(self._agreement(genotype)[operations_of(genotype) > 0].mean())

    def _agreement(self, genotype: Genotype) -> np.ndarray:
        return np.take_along_axis(self.shares, operations_of(genotype)[..., None], -1)[..., 0]

    def edges(self) -> list[dict[str, Any]]:
        """Returns a row for each edge of the chosen architecture: how many samples keep it, with which operations."""
        median = next(operations_of(candidate.genotype) for candidate in self.candidates if candidate.median)
        chosen, kept, agreement = operations_of(self.genotype), self.kept, self.agreement
        return [
            {
                "cell": _CELLS[cell],
                "source": EDGES[edge][0],
                "node": EDGES[edge][1],
                "operation": OPERATIONS[chosen[cell, edge]],
                "kept": float(kept[cell, edge]),
                "agreement": float(agreement[cell, edge]),
                "median": OPERATIONS[median[cell, edge]],
            }
            for cell, edge in np.argwhere(chosen > 0)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures with what they were measured by, ready for JSON (an infinite bound becomes None)."""

        def accuracy(count: int) -> dict[str, Any]:
            return {
                "correct": count,
                "accuracy": count / self.images,
                "interval": wilson_interval(count, self.images),
            }

        def figures(candidate: SampledArchitecture) -> dict[str, Any]:
            row = {
                "drawn": candidate.drawn,
                "median": candidate.median,
                "agreement": self.overall_agreement(candidate),
                "clean": accuracy(candidate.clean),
                "robust": accuracy(candidate.robust),
            }
            if (bounds := candidate.bounds) is not None:
                row |= {"lower": bounds.lower, "upper": bounds.upper if math.isfinite(bounds.upper) else None}
            return row | {"genotype": json.loads(candidate.genotype.to_json())}

        return {
            "samples": self.samples,
            "images": self.images,
            "seed": self.seed,
            "attack": self.attack.to_dict(),
            "agreement": self.overall_agreement(),
            "candidates": [figures(candidate) for candidate in self.candidates],
            "edges": self.edges(),
            "shares": self.shares.tolist(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_dict()` to a JSON file, atomically."""
        write_json(path, self.to_dict())

    def table(self) -> Table:
        """Returns the candidates as a table for the terminal, the chosen one first."""
        title = (
            f"{len(self.candidates)} architectures of {self.samples} samples, {self.images} images, seed {self.seed}"
        )
        table = Table(title=title, box=box.ASCII2)
        table.add_column("architecture")
        for heading in ("drawn", "agreement %", "clean %", "robust %", "95% interval", "Lipschitz from", "to"):
            table.add_column(heading, justify="right")
        for rank, candidate in enumerate(self.candidates, start=1):
            low, high = wilson_interval(candidate.robust, self.images)
            bounds = candidate.bounds
            table.add_row(
                f"{rank}{' (median)' if candidate.median else ''}",
                str(candidate.drawn),
                f"{100 * self.overall_agreement(candidate):.1f}",
                f"{100 * candidate.clean / self.images:.2f}",
                f"{100 * candidate.robust / self.images:.2f}",
                f"{100 * low:.2f} to {100 * high:.2f}",
                *(("", "") if bounds is None else (f"{bounds.lower:.3g}", f"{bounds.upper:.3g}")),
            )
        return table

    def edge_table(self) -> Table:
        """Returns as a table for the terminal how many samples keep what the chosen architecture keeps."""
        title = f"edges of the chosen architecture: {100 * self.overall_agreement():.1f}% agreement overall"
        table = Table(title=title, box=box.ASCII2)
        for heading in ("cell", "edge", "operation"):
            table.add_column(heading)
        for heading in ("kept %", "with this operation %"):
            table.add_column(heading, justify="right")
        table.add_column("by the median")
        for row in self.edges():
            shares = (f"{100 * row[name]:.1f}" for name in ("kept", "agreement"))
            table.add_row(row["cell"], f"{row['source']} -> {row['node']}", row["operation"], *shares, row["median"])
        return table

    def __str__(self) -> str:
        return f"{as_text(self.table())}\n{as_text(self.edge_table())}\n{self.genotype}\n"
