"""Makes exhibits: trains and attacks what they are of, and writes their pages and pictures."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.errors import UsageError, unknown
from racl_tf.evaluation import Sweep
from racl_tf.files import as_path, write_json, write_text
from racl_tf.reporting import draw_genotype, plot_sweeps
from racl_tf.reporting.paper_table import Measured, PaperTable
from racl_tf.reporting.paper_table_plot import plot_paper_table
from racl_tf.reproduction import paper
from racl_tf.reproduction.dynamics import NOTES as DYNAMICS_NOTES
from racl_tf.reproduction.dynamics import Dynamics, courses_of, courses_table, plot_courses
from racl_tf.reproduction.experiment_store import ExperimentStore, made_by, wall_time
from racl_tf.reproduction.paper_tables import (
    CLEAN,
    EXHIBITS,
    PARAMETERS,
    Cell,
    Curves,
    Drawings,
    Exhibit,
    Table,
    systems_of,
)
from racl_tf.reproduction.parallel import Shard
from racl_tf.reproduction.system import System
from racl_tf.settings import DATASETS, READING, WSR, paper_settings
from racl_tf.tables import markdown_table, markdown_text

_LOGGER = logging.getLogger(__name__)
Figures = dict[tuple[str, str], Measured]


def reproduce(
    names: Sequence[str],
    stores: Mapping[str, ExperimentStore],
    folder: str | pathlib.Path,
    *,
    extra: Sequence[System] = (),
    shard: Shard | None = None,
) -> list[pathlib.Path]:
    """Makes exhibits and returns the paths of their pages; what is finished is not repeated.

    Each page shows our figures with their 95% intervals beside the paper's, never one that was not measured.

    Arguments:
        names: of exhibits, in `racl_tf.reproduction.paper_tables.EXHIBITS`.
        stores: of each data set by its name; the first is the one of all exhibits but Table 4, which is of all.
        folder: where pages and pictures are written.
        extra: a user's own systems, which take part in every exhibit.
        shard: the share that is made of what exhibits need; no page is then.

    Raises:
        UsageError: an exhibit is unknown, a user's system has another's title, or what
            `ExperimentStore.check` finds in any of them, before anything is computed.
    """
    for name in names:
        if name not in EXHIBITS:
            raise unknown("exhibit", name, EXHIBITS)
    taken = {system.title for _, system in systems_of(*(EXHIBITS[name](tuple(stores), ()) for name in names))}
    for system in extra:
        if system.title in taken:
            raise UsageError(f"{system.title!r} is a row already. Call your network {system.network!r} otherwise.")
    exhibits = {name: EXHIBITS[name](tuple(stores), extra) for name in names}
    for dataset, system in systems_of(*exhibits.values()):
        stores[dataset].check([system])
    if shard:
        shard.make([part for exhibit in exhibits.values() for part in _parts(exhibit, stores)])
        return []
    return [make(exhibit, stores, as_path(folder) / name) for name, exhibit in exhibits.items()]


def _parts(exhibit: Exhibit, stores: Mapping[str, ExperimentStore]) -> list[Callable[[], object]]:
    """Returns what has to be made for an exhibit, each with what it needs itself."""
    if isinstance(exhibit, Table):
        return list(_table_parts(exhibit, stores))
    if isinstance(exhibit, Curves):
        return [partial(stores[exhibit.dataset].sweep, system) for system in exhibit.systems.values()]
    return [partial(stores[dataset].genotype, system) for dataset, system in systems_of(exhibit)]


def make(exhibit: Exhibit, stores: Mapping[str, ExperimentStore], base: pathlib.Path) -> pathlib.Path:
    """Makes one exhibit and returns the path of its page: BASE.md, with pictures and but for drawings BASE.json.

    The pages of tables and curves are written anew after each system, so that interrupted ones show what there is.
    """
    _LOGGER.info("%s", exhibit.title)
    if isinstance(exhibit, Table):
        return _make_table(exhibit, stores, base)
    if isinstance(exhibit, Dynamics):
        return _make_dynamics(exhibit, stores, base)
    return _make_curves(exhibit, stores, base) if isinstance(exhibit, Curves) else _make_drawings(exhibit, stores, base)


def _make_table(table: Table, stores: Mapping[str, ExperimentStore], base: pathlib.Path) -> pathlib.Path:
    measured: Figures = {}
    rows, columns = (tuple(dict.fromkeys(place[axis] for place in (*table.cells, *table.published))) for axis in (0, 1))
    for part in _table_parts(table, stores):
        measured = measured | part()
        page = PaperTable(table.title, rows, columns, measured, table.published, notes_of(table, stores))
        write_text(base.with_suffix(".md"), page.markdown())
        page.save(base.with_suffix(".json"))
    plot_paper_table(page, base.with_suffix(".png"))
    return base.with_suffix(".md")


def _table_parts(table: Table, stores: Mapping[str, ExperimentStore]) -> Iterable[Callable[[], Figures]]:
    """Yields what gives a table's figures, those of one attacked system or source at a time."""

    def key(place: tuple[str, str]) -> tuple[str, str, str]:
        cell = table.cells[place]
        if cell.source is None:
            return cell.dataset, str(stores[cell.dataset].network_folder(cell.system)), ""
        return cell.dataset, str(stores[cell.dataset].network_folder(cell.source)), cell.measure

    order = {value: index for index, value in enumerate(dict.fromkeys(map(key, table.cells)))}
    for _, group in groupby(sorted(table.cells, key=lambda place: order[key(place)]), key):
        cells = {place: table.cells[place] for place in group}
        first = next(iter(cells.values()))
        yield partial(_transfer if first.source else _evaluate, stores[first.dataset], cells)


def _evaluate(store: ExperimentStore, cells: Mapping[tuple[str, str], Cell]) -> Figures:
    system = next(iter(cells.values())).system
    attacks = list(dict.fromkeys(cell.measure for cell in cells.values() if cell.measure not in (CLEAN, PARAMETERS)))
    evaluations = store.evaluate(system, attacks)
    figures = {}
    for place, cell in cells.items():
        if cell.measure == PARAMETERS:
            if (count := store.parameters(system)) is not None:
                figures[place] = Measured(count / 1e6)
            continue
        name = attacks[0] if cell.measure == CLEAN else cell.measure
        evaluation = evaluations[name]
        figures[place] = _percent(evaluation.accuracy(cell.measure), evaluation.interval(cell.measure))
    return figures


def _transfer(store: ExperimentStore, cells: Mapping[tuple[str, str], Cell]) -> Figures:
    first = next(iter(cells.values()))
    targets = {str(place): cell.system for place, cell in cells.items()}
    result = store.transfer(first.source, targets, first.measure)  # type: ignore[arg-type]
    return {
        place: _percent(result.accuracy("source", str(place)), result.interval("source", str(place))) for place in cells
    }


def _make_curves(curves: Curves, stores: Mapping[str, ExperimentStore], base: pathlib.Path) -> pathlib.Path:
    sweeps: dict[str, dict[str, Sweep]] = {}
    for title, system in curves.systems.items():
        for name, sweep in stores[curves.dataset].sweep(system).items():
            sweeps.setdefault(name, {})[title] = sweep
        parts = [
            "Robust accuracy in percent with its 95% interval; the paper's figure after a slash.",
            *(part for name, lines in sweeps.items() for part in _make_panel(name, lines, base)),
        ]
        _write_page(curves, parts, stores, base)
        figures = {name: {row: sweep.to_dict() for row, sweep in lines.items()} for name, lines in sweeps.items()}
        write_json(base.with_suffix(".json"), figures)
    return base.with_suffix(".md")


def _make_panel(name: str, sweeps: Mapping[str, Sweep], base: pathlib.Path) -> list[str]:
    """Draws the curves of all systems by one attack and returns the link to the picture and their table."""
    picture = base.with_name(f"{base.name}_{name}.png")
    plot_sweeps(sweeps, picture)
    title = "PGD over steps" if name == "steps" else f"{name} over eps"
    values = next(iter(sweeps.values())).values
    rows = []
    for system, sweep in sweeps.items():
        points = zip(values, sweep.accuracies, sweep.intervals, strict=True)
        rows.append([system, *(_point(name, system, *point) for point in points)])
    return [f"![{title}]({picture.name})", markdown_table([title, *(f"{value:.3g}" for value in values)], rows)]


def _point(name: str, system: str, value: float, accuracy: float, interval: tuple[float, float]) -> str:
    published = paper.FIGURE_3.get((system, f"PGD-{value:.0f}")) if name == "steps" else None
    beside = f" / {published:.2f}" if published is not None else ""
    return f"{100 * accuracy:.1f}{beside}<br>[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _make_drawings(drawings: Drawings, stores: Mapping[str, ExperimentStore], base: pathlib.Path) -> pathlib.Path:
    parts = []
    for index, (title, system) in enumerate(drawings.systems.items()):
        genotype, picture = stores[drawings.dataset].genotype(system), base.with_name(f"{base.name}_{index}.png")
        draw_genotype(genotype, picture)
        shown = markdown_text(title)
        parts += [f"### {shown}", f"![{shown}]({picture.name})", f"```\n{genotype}\n```"]
    _write_page(drawings, parts, stores, base)
    return base.with_suffix(".md")


def _make_dynamics(figure: Dynamics, stores: Mapping[str, ExperimentStore], base: pathlib.Path) -> pathlib.Path:
    folders = {
        (dataset, title): stores[dataset].search_folder(system) / file_names.SEARCH
        for (dataset, title), system in figure.systems.items()
    }
    for (dataset, title), system in figure.systems.items():
        _LOGGER.info("Searching on %s: %s.", dataset, title)
        stores[dataset].genotype(system)
        parts = []
        for name, courses in courses_of(figure, folders):
            if courses:
                picture = base.with_name(f"{base.name}_{name}.png")
                plot_courses(courses, picture)
                parts += [f"### {name}", f"![searches on {name}]({picture.name})", courses_table(courses)]
        _write_page(figure, parts, stores, base)
    return base.with_suffix(".md")


def _write_page(
    exhibit: Exhibit, parts: Sequence[str], stores: Mapping[str, ExperimentStore], base: pathlib.Path
) -> None:
    notes = "\n".join(f"* {note}" for note in notes_of(exhibit, stores))
    write_text(base.with_suffix(".md"), "\n\n".join([f"## {exhibit.title}", *parts, notes]) + "\n")


def notes_of(exhibit: Exhibit, stores: Mapping[str, ExperimentStore]) -> tuple[str, ...]:
    """Returns what a reader has to know of an exhibit's figures: data, sizes, wall time, how attacks go, versions."""
    folders = {
        dataset: list(_folders(exhibit, dataset, stores[dataset]))
        for dataset in dict.fromkeys(dataset for dataset, _ in systems_of(exhibit))
    }
    notes = [
        f"{sizes(stores[dataset])}; seed {stores[dataset].config.seed}. Searches, trainings and attacks took "
        f"{wall_time(kept) / 60:.0f} min so far."
        for dataset, kept in folders.items()
    ]
    notes += [difference for dataset in folders if (difference := differences(stores[dataset].config))]
    if any(_is_wsr(stores[dataset].config) for dataset in folders):
        notes.append(paper.WSR)
    if isinstance(exhibit, Table) and any(cell.source is None for cell in exhibit.cells.values()):
        notes.append(
            "An image counts as fallen at the first misclassified iterate of an attack. On one network PGD-20 left "
            "82.17% standing that way, and 82.73% by its last iterate alone."
        )
    if any(system.searched_on_first for _, system in systems_of(exhibit)):
        notes.append(f"One cell is searched here for all data sets, as in the paper: on {next(iter(stores))}.")
    if isinstance(exhibit, Curves):
        notes.append(
            "Over eps the attacks' steps grow with eps, and an image that falls at one eps counts as fallen at all "
            "larger ones; over steps it counts as fallen from its first misclassified step on."
        )
    if isinstance(exhibit, Dynamics):
        notes += DYNAMICS_NOTES
    if versions := made_by(path for kept in folders.values() for path in kept):
        notes.append(f"Made by {versions}.")
    return tuple(notes)


def _folders(exhibit: Exhibit, dataset: str, store: ExperimentStore) -> Iterable[pathlib.Path]:
    """Yields the folders of all that is searched, trained and attacked on a data set for an exhibit."""
    for system in (system for name, system in systems_of(exhibit) if name == dataset):
        runs = store.run_folders(system)
        if isinstance(exhibit, Drawings | Dynamics):
            yield from runs[:-1]  # whose cells are not trained
        else:
            yield from runs
        if isinstance(exhibit, Curves):
            yield from store.sweep_folders(system).values()
    if isinstance(exhibit, Table):
        for cell in exhibit.cells.values():
            if cell.dataset == dataset and cell.measure not in (CLEAN, PARAMETERS):
                attacked = store.transfer_folder if cell.source else store.attack_folder
                yield attacked(cell.source or cell.system, cell.measure)


def sizes(store: ExperimentStore) -> str:
    """Returns the settings that figures depend on, in Markdown: of the data, of search and training, of the threat."""
    search, train, attack = store.config.search, store.config.train, store.config.attack
    own = {"cells": train.cells, "channels": train.channels}
    network = " and ".join(f"{size} {name}" for name, size in own.items() if size is not None)
    return (
        f"{markdown_text(store.config.data.name)}: {len(store.data.train)} training and {len(store.data.test)} test "
        f"images; search with {search.cells} cells of {search.channels} channels for {search.epochs} epochs, batches "
        f"of {search.batch_size}, learning rates {search.learning_rate:g} of weights and "
        f"{search.architecture_learning_rate:g} of the architecture; its constraint, where a row says nothing else, as "
        f"an {search.form} with eta {search.eta:g}, rho {search.rho:g} and a target {_target(search)}; training for "
        f"{train.epochs} epochs, networks of {network or 'their own size'}, defences of {train.attack_steps} steps; "
        f"{attack.norm} with eps {attack.eps:.4g} and steps of {attack.step_size:.4g}, in MIM and PGD-10 of eps/10"
    )


def differences(config: ConfigDict) -> str:
    """Returns in which settings of data, threat, search and training a configuration differs from the paper's.

    It is Markdown, empty if in none. The paper's are `paper_settings` with the data set's own values.
    """
    paper = paper_settings()
    paper.update_from_flattened_dict(DATASETS.get(config.data.name, {"data.name": config.data.name}))
    changed = [
        f"{section}.{name}={value:.4g}" if isinstance(value, float) else f"{section}.{name}={value!r}"
        for section in ("data", "attack", "search", "train")
        for name, value in config[section].items()
        if value != paper[section][name] and f"{section}.{name}" not in READING
    ]
    text = f"Settings of {config.data.name} that differ from the paper's: {', '.join(changed)}."
    return markdown_text(text) if changed else ""


def _is_wsr(config: ConfigDict) -> bool:
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(dict(WSR))
    return changed == config


def _target(search: ConfigDict) -> str:
    if search.target is not None:
        return f"of {search.target:g} nats"
    if search.node_reduction is not None:
        return f"{search.node_reduction:g} nats a node below the start"
    if search.reduction is not None:
        return f"{search.reduction:g} nats below the start"
    return f"below the start by {search.strictness:.0%} of what choice alone can reach"


def _percent(share: float, interval: tuple[float, float]) -> Measured:
    return Measured(100 * share, 100 * interval[0], 100 * interval[1])
