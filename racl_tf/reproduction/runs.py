"""The steps that compare many networks: the paper's tables and figures, and the study over seeds."""

import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.errors import UsageError, unknown
from racl_tf.files import as_path, write_text
from racl_tf.reproduction.cluster import in_jobs
from racl_tf.reproduction.experiment_store import ExperimentStore
from racl_tf.reproduction.pages import reproduce, sizes
from racl_tf.reproduction.paper_tables import PAPER
from racl_tf.reproduction.parallel import Shard, in_processes
from racl_tf.reproduction.spread import Spread, make_random_cells, train_random_cells
from racl_tf.reproduction.study import check_ranking, run_systems
from racl_tf.reproduction.study_report import Study
from racl_tf.reproduction.system import System


def run_reproduction(config: ConfigDict, workdir: str) -> list[pathlib.Path]:
    """Makes the tables and figures of a configuration in `workdir` and returns the paths of their pages.

    With `jobs` above 1, as many processes or, by `launcher`, jobs of a cluster make what they need first; with a
    `shard`, its share is all that is made.
    """
    shard = Shard.parse(config.shard)
    if not shard:
        _make_in_parallel(run_reproduction, config, config, workdir)
    names = config.exhibits or PAPER
    known = [name for name, settings in config.items() if isinstance(settings, ConfigDict)]
    for dataset in config.datasets:
        if dataset not in known:
            raise unknown("data set of the reproduction", dataset, known)
    folder = as_path(workdir)
    stores: dict[str, ExperimentStore] = {}
    for dataset in config.datasets:
        first = next(iter(stores.values()), None)
        stores[dataset] = ExperimentStore(config[dataset], folder / file_names.PARTS, first=first)
    if not stores:
        raise UsageError("There is no data set to reproduce on. Give --datasets=cifar10.")
    return reproduce(names, stores, folder, extra=_given(config.networks), shard=shard)


def run_spread(config: ConfigDict, workdir: str) -> Spread:
    """Measures what share of the spread lies between cells, and writes spread.md and spread.json to `workdir`.

    With `study.jobs` above 1, as many processes or jobs of a cluster make what it needs first.
    """
    folder = as_path(workdir)
    _make_in_parallel(run_study_share, config, config.study, workdir)
    spread = train_random_cells(config, folder / file_names.PARTS)
    write_text(folder / file_names.SPREAD_PAGE, str(spread))
    spread.save(folder / file_names.SPREAD)
    return spread


def run_study(config: ConfigDict, workdir: str) -> Study:
    """Compares ways to search over seeds, and writes study.md, study.png and study.json to `workdir`.

    With `study.jobs` above 1, as many processes or jobs of a cluster make what it needs first.
    """
    folder = as_path(workdir)
    _make_in_parallel(run_study_share, config, config.study, workdir)
    outcomes = run_systems(config, folder / file_names.PARTS)
    made = [outcome for runs in outcomes.values() for outcome in runs]
    minutes, versions = sum(one.seconds for one in made) / 60, "; ".join(sorted({one.versions for one in made}))
    notes = (
        f"{sizes(ExperimentStore(config, folder))}; trained under {config.train.defence!r}, from seeds "
        f"{config.seed} to {config.seed + config.study.seeds - 1}.",
        f"{len(made)} networks, {minutes:.0f} min in all. Made by {versions}.",
    )
    checked = check_ranking(config, folder / file_names.PARTS, outcomes) if config.study.check else []
    study = Study(outcomes, config.study.attacks[-1], notes, checked, config.study.check)
    write_text(folder / file_names.STUDY_PAGE, f"{study}\n![]({file_names.STUDY_PICTURE})\n")
    study.save(folder / file_names.STUDY)
    study.plot(folder / file_names.STUDY_PICTURE)
    return study


def run_study_share(config: ConfigDict, workdir: str) -> None:
    """Makes the share `study.shard` of what a study or a measurement of the spread needs in `workdir`."""
    folder, shard = as_path(workdir) / file_names.PARTS, Shard.parse(config.study.shard)
    if config.study.trainings and shard:
        make_random_cells(config, folder, shard)
    else:
        run_systems(config, folder, shard=shard)


def _make_in_parallel(
    run: Callable[[ConfigDict, str], object], config: ConfigDict, settings: ConfigDict, workdir: str
) -> None:
    """Runs a step for `jobs` shares of the parts at once, if several or on a cluster, as `launcher` says."""
    if settings.launcher not in _LAUNCHERS:
        raise unknown("launcher", settings.launcher, _LAUNCHERS)
    if settings.launcher == "slurm":
        in_jobs(run, shards(config, settings.jobs), workdir, options=settings.launcher_options)
    elif settings.jobs > 1:
        in_processes(run, shards(config, settings.jobs), workdir)


_LAUNCHERS = ("processes", "slurm")


def shards(config: ConfigDict, count: int) -> list[ConfigDict]:
    """Returns copies of a configuration, of the reproduction or of a study, one for each share of the parts."""
    copies = [config.copy_and_resolve_references() for _ in range(count)]
    for index, copy in enumerate(copies, start=1):
        (copy.study if "study" in copy else copy).shard = f"{index}/{count}"
    return copies


def _given(named: tuple[str, ...]) -> tuple[System, ...]:
    """Returns the systems of NAME=PATH, where a path may also be a name in the registry."""
    systems: dict[str, System] = {}
    for text in named:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in systems:
            raise UsageError(f"Networks are named once each, as NAME=PATH. Received: {', '.join(named)}.")
        systems[name] = System(name, str(as_path(path)))
    return tuple(systems.values())
