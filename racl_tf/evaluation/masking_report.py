"""What checks for gradient masking found."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from rich import box
from rich.table import Table

from racl_tf.errors import unknown
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.tables import as_text


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
class MaskingReport:
    """What all checks for gradient masking found.

    Arguments:
        findings: one for each check.
        images: number of images, correct clean, that were attacked.
        eps, norm: of the ball.
        seed: of the choice of images and of noise.
    """

    findings: tuple[MaskingCheck, ...]
    images: int
    eps: float
    norm: str
    seed: int

    def __iter__(self) -> Iterator[MaskingCheck]:
        return iter(self.findings)

    def __getitem__(self, name: str) -> MaskingCheck:
        """Returns the finding of one check."""
        found = {finding.name: finding for finding in self.findings}
        if name not in found:
            raise unknown("check", name, found)
        return found[name]

    @property
    def suspicious(self) -> tuple[str, ...]:
        """The names of the checks that found masked gradients."""
        return tuple(finding.name for finding in self.findings if finding.verdict == "suspicious")

    def to_dict(self) -> dict[str, Any]:
        """Returns everything, ready for JSON."""
        findings = [{**asdict(finding), "verdict": finding.verdict} for finding in self.findings]
        return {"images": self.images, "eps": self.eps, "norm": self.norm, "seed": self.seed, "findings": findings}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Returns what `to_dict` recorded."""
        findings = ({name: row[name] for name in row if name != "verdict"} for row in record["findings"])
        return cls(**{**record, "findings": tuple(MaskingCheck(**row) for row in findings)})

    def table(self) -> Table:
        """Returns the findings as a table for the terminal, and below it what to do about suspicious ones."""
        title = f"{self.images} images correct clean, {self.norm} eps {self.eps:.4g}, seed {self.seed}"
        advice = "\n".join(f"{name}: {self[name].meaning}" for name in self.suspicious)
        table = Table(title=title, caption=advice, caption_justify="left", box=box.ASCII2)
        table.add_column("check")
        table.add_column("images that ...")
        for heading in ("number", "usual up to", "verdict"):
            table.add_column(heading, justify="right")
        for finding in self.findings:
            number = f"{finding.count} of {finding.images}" if finding.images else ""
            table.add_row(finding.name, finding.measure, number, f"{100 * finding.limit:g}%", finding.verdict)
        return table

    def __str__(self) -> str:
        return as_text(self.table())
