"""The search of a run: continues where it was interrupted and, once finished, only reads its result."""

import functools
import logging
import pathlib

import keras
import numpy as np
from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import pgd
from racl_tf.data import Dataset, search_batches, steps_per_epoch
from racl_tf.data.image_set import ImageSet
from racl_tf.distribution import WORKERS, make_strategy
from racl_tf.errors import UsageError
from racl_tf.files import read_json_lines, read_table
from racl_tf.lipschitz import GainComparison, compare_norms_with_gains, operation_gains
from racl_tf.networks.supernet import Supernet
from racl_tf.reporting import draw_genotype, plot_search
from racl_tf.runs.common import (
    batching,
    describe_images,
    distributed,
    goes_on,
    load_data,
    search_halves,
    set_precision,
    sgd,
)
from racl_tf.runs.events import SearchEvents
from racl_tf.runs.folder import StepFolder, one_writer
from racl_tf.runs.own_callbacks import load_callbacks
from racl_tf.search.callbacks import ArchitectureLog, StepFile, WarmUp
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.modes import search_mode
from racl_tf.search.racl_search import RACLSearch
from racl_tf.search.statistics import choices_kept
from racl_tf.search.summary import SearchSummary
from racl_tf.seeding import derive
from racl_tf.space import NODES, Genotype, random_genotype
from racl_tf.training import callbacks
from racl_tf.training.checkpoints import Checkpoints

_EPOCHS_BEFORE = 5  # the end of a search, to which its choices are compared
_IMAGES = 12  # on which the gains of operations are measured
_LOGGER = logging.getLogger(__name__)


@distributed
@one_writer
def run_search(config: ConfigDict, workdir: str) -> Genotype:
    """Searches a genotype and writes it to `workdir/search`: genotype.json and .png, histories, checkpoints."""
    step = StepFolder(workdir, file_names.SEARCH, config, ("attack", "search"))
    result = step.path / file_names.GENOTYPE
    if result.exists():
        _LOGGER.info("The search in %s is finished.", step.path)
        return Genotype.load(result)
    name = f"{config.data.name}, seed {config.seed}"
    if search_mode(config.search.mode).architecture is None:
        step.begin()
        genotype = random_genotype(derive(config.seed, "random cells"), name=name)
    else:
        genotype = _search(config, step).genotype(name)
    if WORKERS.is_chief:
        draw_genotype(genotype, step.path / file_names.GENOTYPE_PICTURE)
        genotype.save(result)
    return genotype


def _search(config: ConfigDict, step: StepFolder) -> RACLSearch:
    """Returns a search at its end, whose figures and pictures the folder holds then."""
    settings, dataset = config.search, load_data(config)
    weights, architecture = search_halves(config, dataset)
    steps = steps_per_epoch(weights, settings.batch_size)
    with make_strategy(config.strategy).scope():
        model = make_search(config, dataset, steps * settings.epochs)
        own_callbacks = load_callbacks(config) if WORKERS.is_chief else []
        folder = step.begin()
        records = [
            ArchitectureLog(folder / file_names.ARCHITECTURE),
            StepFile(folder / file_names.STEPS),
            callbacks.HistoryFile(folder / file_names.HISTORY),
        ]
        checkpoints = Checkpoints(
            model, folder / file_names.CHECKPOINTS, minutes=config.checkpoint.minutes, records=records
        )
        position = checkpoints.restore()
    _LOGGER.info(
        "Search on %s: %s, half for the weights and half for the architecture; %d epochs of %d steps, the first %d a "
        "warm-up; mode %s, %d cells of %d channels. %s",
        config.data.name,
        describe_images(dataset.train, dataset),
        settings.epochs,
        steps,
        settings.warmup_epochs,
        settings.mode,
        settings.cells,
        settings.channels,
        goes_on(position),
    )
    updates = [WarmUp(settings.warmup_epochs), callbacks.StopOnDivergence()]
    reports = [
        *records,
        SearchEvents(folder / file_names.EVENTS, config),
        callbacks.Progress(settings.epochs, steps, "search"),
        *own_callbacks,
    ]
    checkpoints.fit(
        functools.partial(search_batches, weights, architecture, **batching(config, settings.batch_size)),
        epochs=settings.epochs,
        steps=steps,
        callbacks=[*updates, *reports] if WORKERS.is_chief else updates,
    )
    if WORKERS.is_chief:
        summary = summarize(model, folder, architecture)
        _LOGGER.log(logging.WARNING if summary.doubts else logging.INFO, "%s", str(summary).strip())
        summary.save(folder / file_names.SUMMARY)
        plot_search(
            folder / file_names.HISTORY,
            folder / file_names.STEPS,
            folder / file_names.ARCHITECTURE,
            folder / file_names.SEARCH_PICTURE,
        )
    return model


def summarize(search: RACLSearch, folder: pathlib.Path, images: ImageSet) -> SearchSummary:
    """Returns what a search did, with the gains of its operations if their norms were constrained.

    Arguments:
        search: at its end.
        folder: where `ArchitectureLog` and `StepFile` wrote.
        images: of which the first few are those that gains are measured on.
    """
    entries = read_json_lines(folder / file_names.ARCHITECTURE)
    earlier = entries[-1 - min(_EPOCHS_BEFORE, len(entries) - 1)]
    constrained = search.constraint is not None
    return SearchSummary(
        statistics={name: value for name, value in entries[-1].items() if isinstance(value, float)},
        steps=int(search.architecture_optimizer.iterations.numpy()),
        constraint=float(read_table(folder / file_names.STEPS)[-1]["constraint"]) if constrained else None,
        kept=choices_kept(search.genotype(), Genotype.from_text(earlier["genotype"])),
        epochs=entries[-1]["epoch"] - earlier["epoch"],
        gains=compare_gains(search, images) if constrained else None,
    )


def compare_gains(search: RACLSearch, images: ImageSet) -> GainComparison:
    """Returns how the norms of a search's operations correlate with the gains measured on the first few images."""
    shown = images.images(np.arange(min(_IMAGES, len(images))))
    gains = operation_gains(search.supernet, shown, *search.architecture.median())
    return compare_norms_with_gains(search.norms.measure(keep=False), gains, images=len(shown))


def make_search(config: ConfigDict, dataset: Dataset, total_steps: int) -> RACLSearch:
    """Returns the compiled search model of a configuration."""
    set_precision(config)
    settings, threat, mode = config.search, config.attack, search_mode(config.search.mode)
    if mode.architecture is None:
        raise UsageError(f"Nothing is trained in search mode {settings.mode!r}. Use `racl_tf.space.random_genotype`.")
    attack = None
    if settings.attack_steps:
        attack = pgd(threat.eps, threat.step_size, settings.attack_steps, norm=threat.norm)
    constraint, reduction = None, settings.reduction
    if settings.node_reduction is not None:
        reduction = settings.node_reduction * NODES * settings.cells
    if mode.constrained:
        constraint = ConfidenceConstraint(
            update=settings.constraint_update,
            step=settings.constraint_step,
            eta=settings.eta,
            rho=settings.rho,
            strictness=settings.strictness,
            reduction=reduction,
            target=settings.target,
            ramp=round(settings.ramp * total_steps * (1 - settings.warmup_epochs / settings.epochs)),
            form=settings.form,
            scale_free=settings.scale_free,
        )
    model = RACLSearch(
        Supernet(
            dataset.spec,
            channels=settings.channels,
            cells=settings.cells,
            partial=mode.partial if settings.partial is None else settings.partial,
            seed=derive(config.seed, "supernet"),
        ),
        mode.architecture(settings.sigma, settings.normalize),
        constraint,
        norms=settings.norms,
        norms_batch_norm=settings.norms_batch_norm,
        updates=settings.updates,
        second_order=settings.second_order,
        attack=attack,
        seed=config.seed,
    )
    model.supernet.recompute = settings.recompute
    model.compile(
        sgd(settings, total_steps),
        keras.optimizers.Adam(settings.architecture_learning_rate, beta_1=0.5, beta_2=0.999),
        weight_decay=settings.weight_decay,
        architecture_weight_decay=settings.architecture_weight_decay,
        clip_norm=settings.clip_norm,
        accumulation_steps=settings.accumulation_steps,
    )
    return model


def load_search(config: ConfigDict, workdir: str) -> RACLSearch:
    """Returns the search model of a finished search, as its last epoch left it.

    Raises:
        UsageError: the search in `workdir` is not finished, was begun with other settings, or drew cells at random.
    """
    step = StepFolder(workdir, file_names.SEARCH, config, ("attack", "search"))
    if not (step.path / file_names.GENOTYPE).exists():
        raise UsageError(f"There is no finished search {str(step.path)!r}. Run racl-search with this --workdir first.")
    dataset = load_data(config)
    steps = steps_per_epoch(search_halves(config, dataset)[0], config.search.batch_size)
    model = make_search(config, dataset, steps * config.search.epochs)
    position = Checkpoints(model, step.path / file_names.CHECKPOINTS).restore()
    epochs = len(read_table(step.path / file_names.HISTORY))
    if position.epoch < epochs:
        raise UsageError(
            f"The search in {str(step.path)!r} is finished, but the last state that is left of it is after "
            f"{position.epoch} of its {epochs} epochs. Search again in a new folder."
        )
    return model
