"""How searches move: with and without the constraint, in its ways and by both kinds of norm."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from racl_tf import file_names
from racl_tf.files import read_json, read_json_lines, read_table
from racl_tf.lipschitz.operation_norms import NORM_KINDS
from racl_tf.reporting.style import picture_style
from racl_tf.reproduction.system import System
from racl_tf.settings import PRINTED
from racl_tf.tables import markdown_table

_LAST = 0.2  # the share of the architecture's steps over which the largest |c| is taken: whether the search settled


@dataclass(frozen=True)
class Dynamics:
    """A figure of searches over their steps, by data set and title; nothing is trained or attacked."""

    title: str
    systems: Mapping[tuple[str, str], System]


def dynamics(datasets: Sequence[str], extra: Sequence[System]) -> Dynamics:
    """Searches on every data set: unconstrained, printed and proximal, both of the latter by each kind of norm."""
    del extra  # what is given is not searched
    proximal = {"search.mode": "racl", "search.constraint_update": "proximal"}
    changes: dict[str, Mapping[str, object]] = {"unconstrained": {"search.mode": "unconstrained"}}
    for norms in NORM_KINDS:
        own = {"search.norms": norms}
        changes[f"printed, {norms} norms"] = {"search.mode": "racl", **PRINTED, **own}
        changes[f"proximal, {norms} norms"] = {**proximal, "search.scale_free": False, **own}
        changes[f"proximal scale-free, {norms} norms"] = {**proximal, "search.scale_free": True, **own}
    changes["proximal scale-free, eta 0.5"] = {**proximal, "search.scale_free": True, "search.eta": 0.5}
    systems = {
        (dataset, title): System(title, "", settings) for dataset in datasets for title, settings in changes.items()
    }
    return Dynamics("Dynamics: what searches do to the architecture and to the constraint", systems)


@dataclass(frozen=True, eq=False)
class Course:
    """What one search logged.

    Arguments:
        epochs: of each epoch the lines of `ArchitectureLog`.
        time: of each architecture step, in epochs.
        steps: of each architecture step c, theta and the like by name; NaN where there is no constraint.
        summary: what the search ended with.
    """

    epochs: Sequence[Mapping[str, float]]
    time: np.ndarray
    steps: Mapping[str, np.ndarray]
    summary: Mapping[str, object]

    @classmethod
    def read(cls, folder: pathlib.Path) -> Course:
        """Returns the course of the finished search in a folder."""
        entries = read_json_lines(folder / file_names.ARCHITECTURE)
        warmup = sum(not row.get("architecture_loss") for row in read_table(folder / file_names.HISTORY))
        rows = read_table(folder / file_names.STEPS)
        per_epoch = max(int(row["step"]) for row in rows)
        rows = [row for row in rows if int(row["epoch"]) > warmup]
        time = np.array([int(row["epoch"]) - 1 + int(row["step"]) / per_epoch for row in rows])
        steps = {name: np.array([float(row.get(name) or "nan") for row in rows]) for name in ("constraint", "theta")}
        return cls(entries, time, steps, read_json(folder / file_names.SUMMARY))

    def row(self) -> list[str]:
        """Returns the figures of `COLUMNS`."""
        last, violation = self.epochs[-1], self.steps["constraint"]
        settled = np.abs(violation[-max(1, round(_LAST * len(violation))) :]).max()
        gains = self.summary["norms_and_gains"]
        correlation = gains["correlation"] if isinstance(gains, Mapping) else float("nan")
        return [
            _figure(last["mu_alpha_relative"]),
            _figure(last["mu_alpha_common"], "+.3f"),
            _figure(last["mu_beta_relative"]),
            _figure(last["mu_beta_common"], "+.3f"),
            _figure(last["entropy_alpha"]),
            _figure(float(violation[-1]), "+.2f"),
            _figure(float(settled), ".2f"),
            _figure(float(self.steps["theta"][-1]), ".3g"),
            f"{last['sigma_alpha']:.3f}, {last['sigma_beta']:.3f}",
            f"{last['reduction']:+.2f}, {last['reduction_by_choice']:+.2f} of {last['reachable']:.1f}",
            f"{last['log_norm_selected']:+.2f}, {last['log_norm_rejected']:+.2f}",
            f"{last['draws_agree']:.0%}",
            _figure(correlation, "+.2f"),
        ]


COLUMNS = (
    "mu alpha relative",
    "common",
    "mu beta relative",
    "common",
    "entropy",
    "c",
    "largest |c|",
    "theta",
    "sigma of alpha, beta",
    "mu_F lowered by, by choice",
    "ln lambda selected, others",
    "draws agree",
    "rank correlation",
)
NOTES = (
    "Movements of mu are since the start: relative, root mean squares within edges (alpha) and nodes (beta); common, "
    "means. Entropy is that of an edge's 7 operations but zero (at the start 1.946), in nats.",
    "c is that of the last step, the largest |c| that of the last fifth of the architecture's steps. mu_F is lowered "
    "since the start, at the current weights; by choice: measured scale-free, of what choice alone could reach.",
    "Rank correlation: of the norms that were constrained with the operations' measured gains.",
)


def courses_table(courses: Mapping[str, Course]) -> str:
    """Returns the figures of searches by title as a table in Markdown."""
    return markdown_table(["search", *COLUMNS], [[title, *course.row()] for title, course in courses.items()])


@picture_style(math=True)
def plot_courses(courses: Mapping[str, Course], path: pathlib.Path) -> None:
    """Draws searches over their epochs: how mu moved, entropy, c, theta, sigma and what mu_F was lowered by."""
    figure = Figure(figsize=(14, 8))
    panels = figure.subplots(2, 3).ravel()
    curves: list[tuple[Axes, str, str]] = [
        (panels[0], "mu_alpha_relative", "relative movement of $\\mu_\\alpha$"),
        (panels[1], "entropy_alpha", "entropy of $\\alpha$ (nats)"),
        (panels[4], "reduction_by_choice", "nats by which choice lowered $\\mu_F$"),
        (panels[5], "sigma_alpha", "mean $\\sigma_\\alpha$"),
    ]
    for index, (title, course) in enumerate(courses.items()):
        style: dict[str, Any] = {
            "color": f"C{index}",
            "label": title,
            "linestyle": "--" if title.startswith("printed") else "-",
        }
        for axes, name, _ in curves:
            axes.plot([entry["epoch"] for entry in course.epochs], [entry[name] for entry in course.epochs], **style)
        panels[2].plot(course.time, course.steps["constraint"], linewidth=0.8, **style)
        panels[3].plot(course.time, course.steps["theta"], **style)
    titles = [(axes, title) for axes, _, title in curves]
    for axes, title in (*titles, (panels[2], "constraint $c$"), (panels[3], "dual variable $\\theta$ (symlog)")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
    panels[2].axhline(0, color="0.5", linewidth=0.8)
    panels[3].set_yscale("symlog", linthresh=0.01)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path)


def courses_of(
    figure: Dynamics, folders: Mapping[tuple[str, str], pathlib.Path]
) -> Iterator[tuple[str, dict[str, Course]]]:
    """Yields each data set with the courses of its searches by title, as far as these are finished.

    Arguments:
        figure: the exhibit.
        folders: of the searches, by data set and title.
    """
    for dataset in dict.fromkeys(dataset for dataset, _ in figure.systems):
        yield (
            dataset,
            {
                title: Course.read(folders[name, title])
                for name, title in figure.systems
                if name == dataset and (folders[name, title] / file_names.GENOTYPE).exists()
            },
        )


def _figure(value: float, form: str = ".3f") -> str:
    return "" if np.isnan(value) else f"{value:{form}}"
