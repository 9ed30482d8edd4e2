"""What checks for gradient masking found."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from racl_tf.errors import unknown
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.result import Result
from racl_tf.tables import TextTable


@dataclass(frozen=True)
class MaskingCheck:
    """What one check counted.

    Arguments:
        name: of the check.
        measure: what is counted.
        count: number of images counted.
        images: number of images that could have been.
        limit: share of them up to which nothing is amiss.
        meaning: what a larger share means, and what to do.

    >>> MaskingCheck("randomness", "get other logits when shown again", 3, 100, 0.0, "").verdict
    'suspicious'
    """

    name: str
    measure: str
    count: int
    images: int
    limit: float
    meaning: str

    @property
    def verdict(self) -> str:
        """The word for it: "pass", "suspicious" or "not applicable".

        It is suspicious if the 95% Wilson interval of the share lies above the limit, so that a few images do not
        decide, and not applicable if no image could have been counted.
        """
        if not self.images:
            return "not applicable"
        return "suspicious" if wilson_interval(self.count, self.images)[0] > self.limit else "pass"


@dataclass(frozen=True)
class MaskingReport(Result):
    """What all checks for gradient masking found.

    Arguments:
        checks: what each of them counted.
        images: number of images, correct clean, that were attacked.
        eps, norm: of the ball.
        seed: of the choice of images and of noise.
    """

    checks: tuple[MaskingCheck, ...]
    images: int
    eps: float
    norm: str
    seed: int

    def __iter__(self) -> Iterator[MaskingCheck]:
        return iter(self.checks)

    def __getitem__(self, name: str) -> MaskingCheck:
        """Returns the check of a name."""
        by_name = {check.name: check for check in self.checks}
        if name not in by_name:
            raise unknown("check", name, by_name)
        return by_name[name]

    @property
    def suspicious(self) -> tuple[str, ...]:
        """The names of the checks that found masked gradients."""
        return tuple(check.name for check in self.checks if check.verdict == "suspicious")

    def to_dict(self) -> dict[str, Any]:
        """Returns everything, ready for JSON."""
        findings = [{**asdict(check), "verdict": check.verdict} for check in self.checks]
        return {"images": self.images, "eps": self.eps, "norm": self.norm, "seed": self.seed, "findings": findings}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Returns what `to_dict` recorded."""
        checks = ({name: row[name] for name in row if name != "verdict"} for row in record["findings"])
        others = {name: value for name, value in record.items() if name != "findings"}
        return cls(tuple(MaskingCheck(**check) for check in checks), **others)

    def table(self) -> TextTable:
        """Returns the checks as a table, and below it what to do about suspicious ones."""
        rows = (
            (
                check.name,
                check.measure,
                f"{check.count} of {check.images}" if check.images else "",
                f"{100 * check.limit:g}%",
                check.verdict,
            )
            for check in self.checks
        )
        return TextTable(
            f"{self.images} images correct clean, {self.norm} eps {self.eps:.4g}, seed {self.seed}",
            ("check", "images that ...", "number", "usual up to", "verdict"),
            tuple(rows),
            left=("check", "images that ..."),
            caption="\n".join(f"{name}: {self[name].meaning}" for name in self.suspicious),
        )

    def summary(self) -> str:
        """Returns the suspicious checks alone, each with what to do about it, or that there are none."""
        if not self.suspicious:
            return f"No signs of gradient masking: {len(self.checks)} checks on {self.images} images."
        return "\n".join(
            f"Gradient masking? {check.count} of {check.images} images {check.measure}. {check.meaning}"
            for check in self.checks
            if check.verdict == "suspicious"
        )

    def __str__(self) -> str:
        return str(self.table())
