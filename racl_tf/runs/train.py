"""The training of a run, under a defence."""

import functools
import logging
import pathlib
from typing import Any

import keras
from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import pgd
from racl_tf.data import Dataset, batches, steps_per_epoch
from racl_tf.data.pipeline import validation_batches
from racl_tf.defences import make_defence
from racl_tf.distribution import WORKERS, make_strategy
from racl_tf.errors import UsageError
from racl_tf.evaluation.chance import chance_level
from racl_tf.files import as_path, write_json
from racl_tf.networks.cell_network import CellNetwork
from racl_tf.networks.ensemble import Ensemble
from racl_tf.networks.loading import load_network
from racl_tf.networks.pretrained import from_pretrained, is_pretrained
from racl_tf.networks.registry import make_network, network_options
from racl_tf.reporting import plot_training
from racl_tf.runs.common import (
    batching,
    describe_images,
    describe_threat,
    distributed,
    goes_on,
    load_data,
    set_precision,
    sgd,
    training_images,
)
from racl_tf.runs.events import Events
from racl_tf.runs.folder import StepFolder, one_writer
from racl_tf.runs.own_callbacks import load_callbacks
from racl_tf.seeding import derive
from racl_tf.space import Genotype
from racl_tf.training import callbacks
from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.checkpoints import Checkpoints

_LOGGER = logging.getLogger(__name__)


@distributed
@one_writer
def run_training(config: ConfigDict, workdir: str) -> pathlib.Path:
    """Trains the searched (or configured) network under a defence and returns the path of the best checkpoint.

    Best is the epoch with the highest accuracy on images held out of the training set, under attack where the defence
    has one. With `train.held_out=0` all images are trained on, and it is the last one.
    """
    network = network_to_train(config, workdir)
    step = StepFolder(workdir, file_names.TRAIN, config, ("attack", "train"))
    best, finished, used = (
        step.path / name for name in (file_names.BEST_NETWORK, file_names.FINISHED, file_names.GENOTYPE)
    )
    if isinstance(network, Genotype) and used.exists() and Genotype.load(used) != network:
        raise UsageError(
            f"The training in {str(step.path)!r} was begun with another genotype. Choose another --workdir."
        )
    if finished.exists():
        _LOGGER.info("The training in %s is finished.", step.path)
        return best
    monitor, chance = _train(config, network, step)
    if WORKERS.is_chief:
        write_json(finished, _conclude(config.train.epochs, step.path, monitor, chance))
    return best


def _train(config: ConfigDict, network: str | Genotype, step: StepFolder) -> tuple[str | None, float]:
    """Trains to the end and keeps the best epoch's network.

    Returns:
        the logged value that is highest in the best epoch, None where the last epoch is kept, and its value by chance.
    """
    settings, dataset = config.train, load_data(config)
    validation, monitor, chance, size = None, None, 0.0, settings.batch_size
    images, held_out = training_images(config, dataset)
    if held_out is not None:
        validation = WORKERS.distribute(lambda: validation_batches(held_out, size, share=WORKERS.share(size)))
    steps = steps_per_epoch(images, size)
    with make_strategy(config.strategy).scope():
        trainer = make_trainer(config, network, dataset, steps * settings.epochs)
        if settings.initial:
            start_from(trainer.network, settings.initial)
        own_callbacks = load_callbacks(config) if WORKERS.is_chief else []
        folder = step.begin()
        history_file = callbacks.HistoryFile(folder / file_names.HISTORY)
        checkpoints = Checkpoints(
            trainer, folder / file_names.CHECKPOINTS, minutes=config.checkpoint.minutes, records=[history_file]
        )
        position = checkpoints.restore()
    genotype = getattr(trainer.network, "genotype", None)
    if genotype and WORKERS.is_chief:
        genotype.save(folder / file_names.GENOTYPE)
    if held_out is not None:
        chance = chance_level(dataset.num_classes, len(held_out))
        monitor = "val_accuracy" if trainer.validation_attack is None else "val_robust_accuracy"
    _LOGGER.info(
        "Training of %s on %s under the defence %s, %s: %s, %d epochs of %d steps; %s. %s",
        network.name or "the searched cell" if isinstance(network, Genotype) else network,
        config.data.name,
        settings.defence,
        describe_threat(config),
        describe_images(images, dataset),
        settings.epochs,
        steps,
        "the last epoch is kept" if held_out is None else f"{len(held_out)} more choose the best epoch",
        goes_on(position),
    )
    updates = [
        callbacks.StopOnDivergence(),
        callbacks.DropPathRamp(_drop_path_shares(trainer.network), epochs=settings.epochs),
    ]
    reports = [
        callbacks.BestNetwork(
            folder / file_names.BEST_NETWORK, folder / file_names.HISTORY, monitor=monitor, chance=chance
        ),
        history_file,
        Events(folder / file_names.EVENTS, config, ("attack", "train")),
        callbacks.Progress(settings.epochs, steps, "training"),
        *own_callbacks,
    ]
    checkpoints.fit(
        functools.partial(batches, images, **batching(config, size)),
        epochs=settings.epochs,
        steps=steps,
        validation_data=validation,
        callbacks=[*updates, *reports] if WORKERS.is_chief else updates,
    )
    return monitor, chance


def _conclude(epochs: int, folder: pathlib.Path, monitor: str | None, chance: float) -> dict[str, Any]:
    """Draws the histories of a finished training and returns which epoch is the best, by what and at which value."""
    history = callbacks.finished_rows(folder / file_names.HISTORY, epochs)
    plot_training(history, folder / file_names.TRAIN_PICTURE)
    if monitor is None:
        return {"monitor": None, "best_epoch": epochs, "value": None}
    epoch, value = callbacks.best_epoch(history, monitor, chance)
    _LOGGER.info("Epoch %d of %d is the best: %s %.1f%% on held-out images.", epoch, len(history), monitor, 100 * value)
    if value <= chance:
        _LOGGER.warning(
            "That is near chance: the network has learnt nothing to rely on. Train for more epochs, by a smaller eps "
            "or another learning rate, in a new folder."
        )
    return {"monitor": monitor, "best_epoch": epoch, "value": value}


def start_from(network: keras.Model, path: str) -> None:
    """Gives a network the weights of a trained one of the same kind and size, for more epochs or other images.

    Where the trained one has another number of classes, all weights but its classifier's are taken, and a line says so.

    Arguments:
        network: that is trained.
        path: of a .keras file, or what `from_pretrained` takes.

    Raises:
        UsageError: the file holds no model, or one of other weights.
    """
    given = from_pretrained(path) if is_pretrained(path) else load_network(path)
    shapes, needed = ([tuple(weight.shape) for weight in model.weights] for model in (given, network))
    classifier = {id(weight) for weight in getattr(network, "classifier_weights", ())}
    fit = len(shapes) == len(needed) and all(
        shape == wanted or (id(weight) in classifier and shape[:-1] == wanted[:-1])
        for weight, shape, wanted in zip(network.weights, shapes, needed, strict=True)
    )
    if not fit:
        raise UsageError(
            f"The weights in {path!r} are not those of the network that is trained: it has {len(needed)} and the file "
            f"{len(shapes)}, or they differ in shape. Give the same network, channels and cells."
        )
    another_head = shapes != needed
    for weight, value in zip(network.weights, given.get_weights(), strict=True):
        if not (another_head and id(weight) in classifier):
            weight.assign(value)
    if another_head:
        _LOGGER.info(
            "The weights begin as those in %s but for the classifier's, which has another number of classes and begins "
            "at random.",
            path,
        )


def make_trainer(config: ConfigDict, network: str | Genotype, dataset: Dataset, total_steps: int) -> AdversarialTrainer:
    """Returns the compiled trainer of a configuration, of a network that `make_network` knows."""
    set_precision(config)
    settings, threat = config.train, config.attack
    sizes = {name: settings[name] for name in ("channels", "cells", "growth") if settings[name] is not None}
    options = {name: size for name, size in sizes.items() if name in network_options(network)}
    options |= {name: settings[name] for name in ("auxiliary", "drop_path", "drop_path_ramp") if settings[name]}
    defence = make_defence(
        settings.defence, eps=threat.eps, step_size=threat.step_size, steps=settings.attack_steps, norm=threat.norm
    )
    members = [
        make_network(network, dataset.spec, seed=derive(config.seed, f"network{index or ''}"), **options)
        for index in range(defence.members)
    ]
    if settings.recompute:
        for member in members:
            if not isinstance(member, CellNetwork):
                raise UsageError(
                    f"Only networks of cells are computed again cell by cell. Leave train.recompute out, or train "
                    f"searched cells or a genotype. Received: train.recompute=True for {type(member).__name__}."
                )
            member.recompute = True
    validation = None  # what is trained on clean images is chosen by its accuracy on them
    if defence.attack is not None:
        validation = pgd(threat.eps, threat.step_size, settings.validation_steps, norm=threat.norm)
    trainer = AdversarialTrainer(
        members[0] if len(members) == 1 else Ensemble(members), defence, validation_attack=validation, seed=config.seed
    )
    descents = total_steps * defence.replays
    optimizer = sgd(settings, descents, [(epoch - 1) * descents // settings.epochs for epoch in settings.milestones])
    trainer.compile(
        optimizer,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        accumulation_steps=settings.accumulation_steps,
    )
    return trainer


def _drop_path_shares(network: keras.Model) -> list[keras.Variable]:
    members = network.members if isinstance(network, Ensemble) else [network]
    return [member.drop_path_share for member in members if getattr(member, "drop_path_ramp", False)]


def network_to_train(config: ConfigDict, workdir: str) -> str | Genotype:
    """Returns what is trained: a name in the registry, or the genotype that was given or searched."""
    name = config.train.network
    if name and not name.lower().endswith(".json"):
        return name
    path = as_path(name or pathlib.Path(workdir) / file_names.SEARCH / file_names.GENOTYPE)
    if not name and not path.exists():
        raise UsageError(
            f"There is no searched genotype {str(path)!r}. Run racl-search with this --workdir first, or name a "
            "network or a genotype's .json file: --config.train.network=racl."
        )
    return Genotype.load(path)
