"""What a search did, in the sentences that it ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from racl_tf.lipschitz.operation_gains import GainComparison
from racl_tf.result import Result
from racl_tf.space.operations import MOST_ENTROPY

_FEW_STEPS = 100  # of the architecture, in which Adam moves mu by at most 100 times its learning rate
_UNMET = 0.5  # nats by which the constraint may be missed, as it swings
_LEAST_LOST = 0.005  # nats of entropy below which nothing was chosen: mu differ by about 0.1 within an edge then


@dataclass(frozen=True, eq=False)
class SearchSummary(Result):
    """How the architecture moved, what of it was a choice, and whether the constraint meant anything.

    Arguments:
        statistics: of the last epoch (see `architecture_statistics` and `constraint_statistics`).
        steps: how many steps the architecture was moved.
        constraint: c at the end, wanted at most 0; None without a constraint.
        kept: the share of the final choices that were made some epochs before the end already.
        epochs: how many epochs before.
        gains: how far the norms that were constrained order operations as their gains do; None without a constraint.
    """

    statistics: Mapping[str, float]
    steps: int
    constraint: float | None
    kept: float
    epochs: int
    gains: GainComparison | None = None

    @property
    def chose(self) -> bool:
        """Whether the weights of operations differ by more than next to nothing."""
        return self.statistics["entropy_alpha"] <= MOST_ENTROPY - _LEAST_LOST

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the genotype may not be what was searched for, a sentence each."""
        found = []
        if self.steps < _FEW_STEPS:
            found.append(f"Only {self.steps} steps moved the architecture: search for more epochs.")
        if self.constraint is not None and self.constraint > _UNMET:
            found.append(
                f"The constraint is not met: c is {self.constraint:.3g} at the end, where at most 0 is wanted. Search "
                "for more epochs, or raise search.rho or search.architecture_learning_rate."
            )
        if not self.chose:
            found.append(
                "This search chose next to nothing: the entropy of the operations' weights is "
                f"{self.statistics['entropy_alpha']:.4f} of {MOST_ENTROPY:.4f} nats. Search for more epochs, raise "
                "search.architecture_learning_rate, or take search.constraint_update=proximal if it was printed."
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        return {
            "statistics": dict(self.statistics),
            "steps": self.steps,
            "constraint": self.constraint,
            "chose": self.chose,
            "doubts": list(self.doubts),
            "kept": {"share": self.kept, "epochs": self.epochs},
            "norms_and_gains": None if self.gains is None else self.gains.to_dict(),
        }

    def __str__(self) -> str:
        moved = self.statistics
        lines = [
            f"Relative to their edges, operations' mu moved by {moved['mu_alpha_relative']:.3f} (in common by "
            f"{moved['mu_alpha_common']:+.3f}), relative to their nodes edges' by {moved['mu_beta_relative']:.3f} (in "
            f"common by {moved['mu_beta_common']:+.3f}).",
            f"mu_F is {_nats(moved['reduction'])} the start architecture's, {_nats(moved['reduction_by_choice'])} by "
            f"choice alone, which could reach {moved['reachable']:.2f} below.",
            f"Selected operations have ln lambda {moved['log_norm_selected']:.2f} on average, others "
            f"{moved['log_norm_rejected']:.2f}.",
            f"{self.kept:.0%} of the choices were made {self.epochs} epochs before the end already; a draw makes "
            f"{moved['draws_agree']:.0%} of them.",
        ]
        if self.constraint is not None:
            lines.insert(1, f"The constraint ended at c = {self.constraint:.3f}, wanted at most 0.")
        if self.gains is not None:
            lines.append(str(self.gains))
        return "\n".join([*lines, *self.doubts]) + "\n"


def _nats(reduction: float) -> str:
    return f"{abs(reduction):.2f} nats {'below' if reduction >= 0 else 'above'}"
