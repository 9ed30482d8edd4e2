"""The report of one run or of several side by side: one HTML file that holds all it shows."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup, escape
from scipy import stats

from racl_tf import file_names
from racl_tf.evaluation.corruptions import SEVERITIES, CorruptionErrors
from racl_tf.evaluation.intervals import wilson_interval
from racl_tf.reporting.cell_chart import draw_cell_chart
from racl_tf.reporting.charts import (
    EPOCH,
    Figure,
    Line,
    bar_chart,
    density_chart,
    heat_map,
    interval_chart,
    line_chart,
    picture,
)
from racl_tf.reporting.run_record import RunRecord, flat
from racl_tf.settings import paper_settings
from racl_tf.space import CANDIDATES, EDGES, INPUTS, NODES, ZERO, Cell, Genotype, edges_into
from racl_tf.space.operations import MOST_ENTROPY
from racl_tf.tables import format_radius
from racl_tf.version import __version__

MARK = "<!-- Written by racl-report, which may write it anew. -->"
"""The second line of every report, by which one is told from other files."""

_EDGE_NAMES = [f"{source}→{target}" for source, target in EDGES]
_OPERATION_NAMES = [
    name.replace("_3x3", " 3").replace("_5x5", " 5").replace("_connect", "").replace("_", " ") for name in CANDIDATES
]
_CELLS = ("normal", "reduction")
_MOST_CLASSES = 20  # that a confusion matrix is drawn for
_MOST_PAIRS = 12  # of classes that are listed where there are more


class Table(NamedTuple):
    """A table: a title, headings, rows of texts and what is written below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


class Frame(NamedTuple):
    """What a search would have chosen after some epochs: their numbers and drawings of both cells."""

    epochs: tuple[int, ...]
    cells: tuple[Figure, Figure]


class Course(NamedTuple):
    """How a search's cells and weights changed, epoch by epoch.

    Arguments:
        epochs: their numbers.
        frames: those with other cells than the ones before.
        maps: heat maps of mu after the last epoch.
        strengths: what the script sets their places to: for each epoch a share of the strongest colour, in percent.
        limit: the value of the strongest colour.
    """

    epochs: tuple[int, ...]
    frames: tuple[Frame, ...]
    maps: tuple[Figure, ...]
    strengths: tuple[tuple[int, ...], ...]
    limit: float


class Pictures(NamedTuple):
    """Images that an attack changed the class of: for each three pictures and a text."""

    title: str
    rows: tuple[tuple[Markup, Markup, Markup, str], ...]
    note: str


class Panel(NamedTuple):
    """What a section shows of one run."""

    run: str
    items: tuple[tuple[str, Any], ...]


class Section(NamedTuple):
    """A part of the report: its title and a panel for each run that has something to show."""

    title: str
    panels: tuple[Panel, ...]


def render_report(runs: Sequence[RunRecord]) -> str:
    """Returns the report of one run, or of several side by side, as a page of HTML that needs no other file.

    It shows what the runs' files have and says what is missing. The same files give the same page.

    Arguments:
        runs: one at least.
    """
    makers: dict[str, Callable[[RunRecord], Iterable[Any]]] = {
        "At a glance": _overview,
        "Cells": _cells,
        "What the search weighed": _spread,
        "The constraint": _constraint,
        "How the search went": _search_curves,
        "Architectures drawn from the search": _choice,
        "How the training went": _training_curves,
        "Accuracy under attack": _accuracy,
        "Classes": _classes,
        "What attacks change": _pictures,
        "Signs of gradient masking": _masking,
        "Common corruptions": _corruptions,
        "Over the strength of the attack": _sweeps,
        "Images crafted on other models": _transfer,
        "Settings that differ from the paper's": _settings,
        "Made by": _versions,
    }
    sections = []
    for title, make in makers.items():
        panels = []
        for run in runs:
            items: list[Any] = []
            run.attempt(title, functools.partial(_collect, make, run, items))
            if items:
                panels.append(Panel(run.title, tuple((type(item).__name__.lower(), item) for item in items)))
        if panels:
            sections.append(Section(title, tuple(panels)))
    loader = jinja2.PackageLoader("racl_tf.reporting", "")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = _breakable
    return environment.get_template("page.html.jinja").render(
        mark=Markup(MARK),
        title=" and ".join(run.title for run in runs) if len(runs) < 3 else f"{len(runs)} runs",
        sections=sections,
        notes=[(run.title, note) for run in runs for note in run.notes],
        several=len(runs) > 1,
        version=__version__,
    )


def _collect(make: Callable[[RunRecord], Iterable[Any]], run: RunRecord, items: list[Any]) -> None:
    """Adds to a list what a section shows of a run, as far as it gets."""
    for item in make(run):
        if item is not None:
            items.append(item)


def _breakable(text: str) -> Markup:
    """Returns a text, escaped, that may be broken after dots and low lines."""
    return Markup(re.sub(r"([._/])(?=[a-z])", r"\1<wbr>", str(escape(text))))


def _overview(run: RunRecord) -> Iterable[Table]:
    rows = [(step, state) for step, state in _states(run)]
    settings = run.settings()
    for name, text in (("data.name", "data"), ("search.mode", "search mode"), ("train.defence", "defence")):
        if name in settings:
            rows.append((text, str(settings[name])))
    if "attack.eps" in settings:
        rows.append(("threat", f"{settings.get('attack.norm')} eps {format_radius(float(settings['attack.eps']))}"))
    if (steps := run.table(file_names.SEARCH, file_names.STEPS)) and steps[-1].get("constraint"):
        rows.append(("constraint c, wanted at most 0", f"{float(steps[-1]['constraint']):.3f}"))
        rows.append(("achieved Pr[λF ≤ λ*]", f"{float(steps[-1]['probability']):.1%}"))
    for name, figures in _results(run).items():
        if name in ("clean", "worst_case"):
            rows.append((f"{name.replace('_', ' ')} accuracy", _share(figures)))
    yield Table("", ("", ""), tuple(rows))


def _states(run: RunRecord) -> Iterable[tuple[str, str]]:
    """Yields how far each step of a run is."""
    settings = run.settings()
    for step in run.steps:
        ends = {
            file_names.SEARCH: file_names.GENOTYPE,
            file_names.CHOOSE: file_names.GENOTYPE,
            file_names.TRAIN: file_names.FINISHED,
        }
        if (run.steps[step] / ends.get(step, file_names.RESULTS)).is_file():
            yield step, "finished"
        elif done := len(run.table(step, file_names.HISTORY)):
            yield step, f"unfinished: {done} of {settings.get(f'{step}.epochs', '?')} epochs"
        else:
            yield step, "unfinished"


def _entries(run: RunRecord) -> list[dict[str, Any]]:
    return run.lines(file_names.SEARCH, file_names.ARCHITECTURE)


def _cells(run: RunRecord) -> Iterable[Course | Figure]:
    entries = _entries(run)
    if entries:
        yield _course(entries)
    for step in (file_names.SEARCH, file_names.CHOOSE, file_names.TRAIN):
        path = run.steps.get(step)
        if path is None or not (path / file_names.GENOTYPE).is_file() or (step == file_names.SEARCH and entries):
            continue
        genotype = Genotype.load(path / file_names.GENOTYPE)
        if step == file_names.TRAIN and entries and str(genotype) == entries[-1]["genotype"]:
            continue  # which the search shows
        yield from _drawn(genotype, {"search": "searched", "choose": "chosen", "train": "trained"}[step])


def _drawn(genotype: Genotype, word: str) -> tuple[Figure, Figure]:
    return tuple(  # type: ignore[return-value]
        Figure(f"{name.capitalize()} cell, {word}", draw_cell_chart(cell, f"{name} cell"))
        for name, cell in zip(_CELLS, (genotype.normal, genotype.reduce), strict=True)
    )


def _course(entries: Sequence[Mapping[str, Any]]) -> Course:
    epochs = tuple(int(entry["epoch"]) for entry in entries)
    frames = []
    for text, group in itertools.groupby(entries, key=lambda entry: entry["genotype"]):
        span = tuple(int(entry["epoch"]) for entry in group)
        frames.append(Frame(span, _drawn(Genotype.from_text(text), "selected")))
    values = [[_weights(entry, cell) for cell in range(2)] for entry in entries]
    limit = max(float(np.abs(values).max()), 1e-6)
    last = Genotype.from_text(entries[-1]["genotype"])
    maps = tuple(
        heat_map(
            f"{name.capitalize()} cell: μα + μβ",
            values[-1][cell],
            _EDGE_NAMES,
            _OPERATION_NAMES,
            limit=limit,
            key=f"mu{cell}",
            marked=_selected(kept) if len(frames) == 1 else (),
            note=f"In nats, less the node's mean; the strongest colour is {limit:.2g}. Each node keeps its two best "
            "edges, with their best operation.",
        )
        for cell, (name, kept) in enumerate(zip(_CELLS, (last.normal, last.reduce), strict=True))
    )
    strengths = tuple(tuple(round(100 * value / limit) for cell in epoch for value in cell.ravel()) for epoch in values)
    return Course(epochs, tuple(frames), maps, strengths, limit)


def _weights(entry: Mapping[str, Any], cell: int) -> np.ndarray:
    """Returns mu_alpha + mu_beta of a cell, (14, 7), less the mean of each node."""
    alpha, beta = (np.array(entry[name][cell], float) for name in ("mu_alpha", "mu_beta"))
    values = np.delete(alpha, ZERO, -1) + beta[:, None]
    for node in range(INPUTS, INPUTS + NODES):
        values[edges_into(node)] -= values[edges_into(node)].mean()
    return values


def _selected(cell: Cell) -> list[tuple[int, int]]:
    return [
        (EDGES.index((source, node)), CANDIDATES.index(operation))
        for node, edges in enumerate(cell.nodes, start=INPUTS)
        for operation, source in edges
    ]


def _spread(run: RunRecord) -> Iterable[Figure]:
    entries = _entries(run)
    if not entries:
        return
    last = entries[-1]
    genotype = Genotype.from_text(last["genotype"])
    for letter, names, note in (
        ("μ", ("mu_alpha", "mu_beta"), "of operations less their edge's mean, of edges less their node's"),
        ("σ", ("sigma_alpha_entries", "sigma_beta_entries"), "the deviation of a weight's logarithm"),
    ):
        for cell, (name, kept) in enumerate(zip(_CELLS, (genotype.normal, genotype.reduce), strict=True)):
            if names[0] not in last:  # of runs before it was kept
                continue
            alpha, beta = (np.array(last[key][cell], float) for key in names)
            values = np.concatenate([np.delete(alpha, ZERO, -1), beta[:, None]], 1)
            if letter == "μ":
                values[:, :-1] -= values[:, :-1].mean(1, keepdims=True)
                values[:, -1] -= _node_means(beta)
            limit = float(np.abs(values).max())
            yield heat_map(
                f"{name.capitalize()} cell: {letter}",
                values,
                _EDGE_NAMES,
                [*_OPERATION_NAMES, "edge β"],
                marked=_selected(kept),
                note=f"In nats, {note}; the strongest colour is {limit:.2g}. Frames: selected.",
            )


def _node_means(beta: np.ndarray) -> np.ndarray:
    means = np.empty(len(EDGES))
    for node in range(INPUTS, INPUTS + NODES):
        means[edges_into(node)] = beta[edges_into(node)].mean()
    return means


def _constraint(run: RunRecord) -> Iterable[Figure | None]:
    steps = run.table(file_names.SEARCH, file_names.STEPS)
    if not steps:
        return
    per_epoch = max(int(row["step"]) for row in steps)
    time = np.array([int(row["epoch"]) - 1 + int(row["step"]) / per_epoch for row in steps])
    mean, deviation, violation, probability, theta = (
        _column(steps, name) for name in ("mu_F", "sigma_F", "constraint", "probability", "theta")
    )
    settings = run.settings()
    known = np.flatnonzero(np.isfinite(violation) & (deviation > 0))
    if len(known) and "search.eta" in settings:
        eta, proximal = float(settings["search.eta"]), settings.get("search.constraint_update") == "proximal"
        margin = stats.norm.ppf(eta) * (deviation if proximal else deviation**2)
        relative = violation - margin  # mu_F less the target
        first, last = known[0], known[-1]
        curves = [("when the architecture began to be trained", float(relative[first]), float(deviation[first]))]
        curves.append(
            ("at the end" if _finished(run) else "at the last step", float(relative[last]), float(deviation[last]))
        )
        yield density_chart(
            "The constant λF against its target",
            curves,
            note=f"λF is log-normal. Pr[λF ≤ λ*] is {probability[last]:.1%}, wanted at least {eta:.0%}."
            + ("" if proximal else " The printed constraint takes cells as independent, the probability does not."),
        )
    shaded = (0.0, float(time[np.isnan(violation)].max())) if len(known) and np.isnan(violation).any() else None
    gray = "Shaded: the warm-up." if shaded else ""
    draw = functools.partial(line_chart, x_label=EPOCH, shaded=shaded, note=gray)
    yield draw("Constraint c, wanted at most 0", [Line("c", time, violation)], zero=True)
    yield draw("Dual variable θ", [Line("θ", time, theta, 1)], zero=True)
    yield draw("Achieved Pr[λF ≤ λ*]", [Line("probability", time, probability, 2)], y_range=(0, 1), percent=True)
    ends = [Line(f"μF {sign} σF", time, mean + way * deviation, 6, dashed=True) for sign, way in (("+", 1), ("−", -1))]
    yield draw("Logarithm of the constant", [Line("μF", time, mean), *ends])


def _finished(run: RunRecord) -> bool:
    return (run.steps[file_names.SEARCH] / file_names.GENOTYPE).is_file()


def _search_curves(run: RunRecord) -> Iterable[Figure | Table | None]:
    history = run.table(file_names.SEARCH, file_names.HISTORY)
    if history:
        epochs = _column(history, "epoch")
        for name in ("loss", "accuracy"):
            lines = [
                Line("weights' half", epochs, _column(history, name)),
                Line("architecture's half", epochs, _column(history, f"architecture_{name}"), 1),
            ]
            yield line_chart(f"Search: {name}", lines, x_label=EPOCH, percent=name == "accuracy")
        moves = [
            Line("choices kept since the epoch before", epochs, _column(history, "choices_kept"), 2),
            Line("choices that a draw makes too", epochs, _column(history, "draws_agree"), 3),
        ]
        yield line_chart("How settled the choice is", moves, x_label=EPOCH, percent=True, y_range=(0, 1))
        lowered = [
            Line("in all", epochs, _column(history, "reduction"), 6, dashed=True),
            Line("by choice alone", epochs, _column(history, "reduction_by_choice")),
        ]
        yield line_chart("Nats by which μF was lowered", lowered, x_label=EPOCH, zero=True)
    summary = run.json(file_names.SEARCH, file_names.SUMMARY)
    if isinstance(summary, dict):
        moved = summary["statistics"]
        rows = [
            ("mu of operations moved relatively by", f"{moved['mu_alpha_relative']:.3f}"),
            ("mu of edges moved relatively by", f"{moved['mu_beta_relative']:.3f}"),
            (
                "entropy of operations' weights",
                f"{moved['entropy_alpha']:.4f} of {MOST_ENTROPY:.4f} nats",
            ),
            ("this search chose", "something" if summary["chose"] else "next to nothing"),
        ]
        if summary.get("constraint") is not None:
            rows.insert(0, ("c at the end", f"{summary['constraint']:.3f}"))
        doubts = "".join(f" This search is not to be relied on: {doubt}" for doubt in summary.get("doubts", ()))
        yield Table("In figures", ("", ""), tuple(rows), doubts.strip())


def _choice(run: RunRecord) -> Iterable[Table]:
    record = run.json(file_names.CHOOSE, file_names.SAMPLING)
    if not isinstance(record, dict):
        return
    rows = []
    for rank, figures in enumerate(record["candidates"], start=1):
        clean, robust = (_share(figures[name]) for name in ("clean", "robust"))
        slopes = [f"{figures[end]:.3g}" if figures.get(end) is not None else "" for end in ("lower", "upper")]
        median = " (median)" if figures["median"] else ""
        rows.append((f"{rank}{median}", str(figures["drawn"]), f"{figures['agreement']:.1%}", clean, robust, *slopes))
    yield Table(
        f"{len(rows)} different ones of {record['samples']}",
        ("architecture", "drawn", "agreement of draws", "clean", "robust", "slope from", "to"),
        tuple(rows),
        f"The first is chosen. Accuracies, with their 95% intervals, are of {record['images']} images with the "
        f"supernet's weights, robust ones under {record['attack']['kind']} of {record['attack']['steps']} steps.",
    )


def _training_curves(run: RunRecord) -> Iterable[Figure | None]:
    history = run.table(file_names.TRAIN, file_names.HISTORY)
    if not history:
        return
    epochs = _column(history, "epoch")
    for name in ("loss", "accuracy"):
        lines = [
            Line("training", epochs, _column(history, name)),
            Line("held out", epochs, _column(history, f"val_{name}"), 1),
            Line("held out, attacked", epochs, _column(history, f"val_robust_{name}"), 2),
        ]
        note = ""
        finished = run.json(file_names.TRAIN, file_names.FINISHED)
        if name == "accuracy" and isinstance(finished, dict) and finished.get("value") is not None:
            note = f"The network of epoch {finished['best_epoch']} is kept."
        yield line_chart(f"Training: {name}", lines, x_label=EPOCH, percent=name == "accuracy", note=note)


def _results(run: RunRecord) -> dict[str, dict[str, Any]]:
    record = run.json(file_names.EVALUATE, file_names.RESULTS)
    return record.get("results", {}) if isinstance(record, dict) else {}


def _share(figures: Mapping[str, Any]) -> str:
    low, high = figures["interval"]
    return f"{100 * figures['accuracy']:.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def _accuracy(run: RunRecord) -> Iterable[Figure | Table]:
    record = run.json(file_names.EVALUATE, file_names.RESULTS)
    if not isinstance(record, dict):
        return
    results = record["results"]
    rows = [(name.replace("_", " "), figures["accuracy"], *figures["interval"]) for name, figures in results.items()]
    ball = f"{record.get('norm')} eps {format_radius(float(record['eps']))}" if "eps" in record else ""
    yield interval_chart(
        "Accuracy and its 95% interval",
        rows,
        note=f"{record['images']} images of {record.get('dataset', 'a data set')}, {ball}, by "
        f"{record.get('model', 'a model')}. Robust accuracy is an upper bound: a stronger attack can only lower it.",
    )
    stages = [
        (f"{name}: {attack['kind']}, {attack['steps']} steps", str(attack["correct_after"]))
        for name, figures in results.items()
        if len(figures.get("attacks", ())) > 1
        for attack in figures["attacks"]
    ]
    if stages:
        yield Table("Ensembles, attack by attack", ("after", "correct"), tuple(stages))


def _class_names(run: RunRecord, classes: int) -> list[str]:
    record = run.json(file_names.EVALUATE, file_names.RESULTS)
    names = [str(name) for name in record.get("class_names", ())] if isinstance(record, dict) else []
    return [*names, *map(str, range(len(names), classes))][:classes]


def _classes(run: RunRecord) -> Iterable[Figure | Table]:
    outcomes = run.arrays(file_names.EVALUATE, file_names.OUTCOMES)
    record = run.json(file_names.EVALUATE, file_names.RESULTS)
    if not outcomes or not isinstance(record, dict):
        return
    labels, predictions, classes = outcomes["labels"], outcomes["predictions"], int(record["classes"])
    names = _class_names(run, classes)
    clean = predictions == labels
    attacks = [name for name in record["results"] if f"{name}/steps" in outcomes]
    robust = clean & np.logical_and.reduce([outcomes[f"{name}/steps"] < 0 for name in attacks] or [clean])
    there = [index for index in range(classes) if np.any(labels == index)]
    shares = [[float(np.mean(kept[labels == index])) for index in there] for kept in (clean, robust)]
    weakest = there[int(np.argmin(shares[1]))]
    low, high = wilson_interval(int(robust[labels == weakest].sum()), int(np.sum(labels == weakest)))
    yield bar_chart(
        "Accuracy by class",
        [names[index] for index in there],
        [("clean", shares[0]), ("under every attack", shares[1])],
        note=f"Weakest under attack: {names[weakest]}, {min(shares[1]):.1%} ({low:.1%} to {high:.1%}) of "
        f"{int(np.sum(labels == weakest))} images.",
    )
    yield _confusion("Clean: what is taken for what", labels, predictions, names)
    found = run.arrays(file_names.EVALUATE, file_names.ADVERSARIAL)
    if found:
        attacked = predictions.copy()
        attacked[found["index"]] = found["predicted"]
        yield _confusion(f"Under {found['attack']}: where it leads", labels, attacked, names)


def _confusion(title: str, labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> Figure | Table:
    counts, known = np.zeros((len(names), len(names))), predicted >= 0
    np.add.at(counts, (labels[known], predicted[known]), 1)
    missing = "" if known.all() else f" Left out: {int(np.sum(~known))} images without finite outputs."
    if len(names) <= _MOST_CLASSES:
        note = f"Down: the true class. Across: the predicted one.{missing}"
        return heat_map(title, counts, names, names, written=len(names) <= 12, note=note)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [(int(flat_index // len(names)), int(flat_index % len(names))) for flat_index in order]
    rows = tuple(
        (names[true], names[other], f"{counts[true, other]:.0f}") for true, other in pairs if counts[true, other]
    )
    return Table(title, ("true", "predicted", "images"), rows, f"The most frequent of {len(names)} classes.{missing}")


def _pictures(run: RunRecord) -> Iterable[Pictures]:
    found = run.arrays(file_names.EVALUATE, file_names.ADVERSARIAL)
    if not found or not len(found["clean"]):
        return
    record = run.json(file_names.EVALUATE, file_names.RESULTS) or {}
    outcomes = run.arrays(file_names.EVALUATE, file_names.OUTCOMES)
    names = _class_names(run, int(record.get("classes", 0)) or int(found["predicted"].max()) + 1)
    change = found["adversarial"] - found["clean"]
    largest = max(float(np.abs(change).max()), 1e-9)
    rows = []
    for clean, adversarial, moved, index, predicted in zip(
        found["clean"], found["adversarial"], change, found["index"], found["predicted"], strict=False
    ):
        true = names[outcomes["labels"][index]] if "labels" in outcomes else "?"
        taken_for = f"taken for {names[predicted]}" if predicted >= 0 else "without finite outputs"
        rows.append(
            (
                picture(clean, f"image {index}, clean"),
                picture(adversarial, f"image {index}, attacked"),
                picture(0.5 + moved / (2 * largest), f"what changed in image {index}"),
                f"image {index}: {true}, {taken_for}",
            )
        )
    yield Pictures(
        f"The first images that fell to {found['attack']}",
        tuple(rows),
        f"Left to right: clean, attacked, and the difference, magnified {0.5 / largest:.1f} times around gray.",
    )


def _masking(run: RunRecord) -> Iterable[Table]:
    record = run.json(file_names.EVALUATE, file_names.RESULTS)
    masking = record.get("masking") if isinstance(record, dict) else None
    if masking:
        findings = masking["findings"]
        rows = tuple(
            (row["name"], f"{row['count']} of {row['images']}" if row["images"] else "", row["verdict"])
            for row in findings
        )
        meanings = " ".join(f"{row['name']}: {row['meaning']}" for row in findings if row["verdict"] == "suspicious")
        note = meanings or f"No sign of it, on {masking['images']} images."
        yield Table("", ("check", "images", "verdict"), rows, note)


def _corruptions(run: RunRecord) -> Iterable[Table]:
    record = run.json(file_names.EVALUATE, file_names.RESULTS)
    found = record.get("corruptions") if isinstance(record, dict) else None
    if not found:
        return
    errors = CorruptionErrors.from_dict(found)
    shares = {name: [count / errors.images for count in counts] for name, counts in errors.correct.items()}
    rows = [(name, *(f"{value:.1%}" for value in (*row, float(np.mean(row))))) for name, row in shares.items()]
    severities = [f"severity {severity}" for severity in range(1, SEVERITIES + 1)]
    relative = errors.mean_corruption_error
    yield Table(
        "Accuracy",
        ("corruption", *severities, "mean"),
        tuple(rows),
        f"{errors.images} images of each severity. Mean error over {len(errors.counted)} corruptions: "
        f"{errors.mean_error:.1%}" + ("." if relative is None else f", relative to the baseline's {relative:.1%}."),
    )


def _sweeps(run: RunRecord) -> Iterable[Figure | None]:
    record = run.json(file_names.SWEEP, file_names.RESULTS)
    curves = {name: value for name, value in (record or {}).items() if isinstance(value, dict) and "rows" in value}
    for over, label in (("eps", "radius of the ball"), ("steps", "steps of the attack")):
        lines = []
        for color, (name, curve) in enumerate((name, curve) for name, curve in curves.items() if curve["over"] == over):
            rows = curve["rows"]
            x = np.array([row[over] for row in rows], float)
            x = np.log10(x) if over == "steps" else x
            for end in ("low", "high"):
                lines.append(Line(f"{name}, 95% interval", x, np.array([row[end] for row in rows], float), color, True))
            lines.append(Line(name, x, np.array([row["accuracy"] for row in rows], float), color))
        figure = line_chart(
            f"Robust accuracy over {over}", lines, x_label=label, percent=True, y_range=(0, 1), powers=over == "steps"
        )
        if figure is not None:
            yield figure._replace(legend=tuple(dict.fromkeys(figure.legend)))


def _transfer(run: RunRecord) -> Iterable[Table]:
    rows = run.table(file_names.TRANSFER, file_names.TRANSFER_TABLE)
    if rows:
        yield Table("", tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def _settings(run: RunRecord) -> Iterable[Table]:
    paper = dict(flat(json.loads(json.dumps(paper_settings().to_dict()))))
    rows = tuple(
        (name, _text(name, value), _text(name, paper[name]) if name in paper else "")
        for name, value in run.settings().items()
        if name not in paper or paper[name] != value
    )
    if rows:
        yield Table("", ("setting", "here", "paper"), rows)


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(name, part) for part in value)
    if name in ("attack.eps", "attack.step_size"):
        return format_radius(float(value))
    return f"{value:.6g}" if isinstance(value, float) else "not given" if value is None else str(value)


def _versions(run: RunRecord) -> Iterable[Table]:
    for step in run.steps:
        versions = run.json(step, file_names.VERSIONS)
        rows = [(str(name), str(value)) for name, value in versions.items()] if isinstance(versions, dict) else []
        seconds = np.nansum(_column(run.table(step, file_names.HISTORY), "seconds"))
        if seconds:
            rows.insert(0, ("time of its epochs", _duration(float(seconds))))
        results = run.json(step, file_names.RESULTS)
        if isinstance(results, dict) and "date" in results:
            rows.insert(0, ("date", str(results["date"])))
        if rows:
            yield Table(step, ("", ""), tuple(rows))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _column(rows: Sequence[Mapping[str, str]], name: str) -> np.ndarray:
    return np.array([float(row.get(name) or "nan") for row in rows])
