"""The steps of a run. Each continues where it was interrupted and, once finished, only reads its result."""

import logging
import pathlib

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.architecture.constraint import ConfidenceConstraint
from racl_tf.attacks import pgd
from racl_tf.data import (
    Dataset,
    batches,
    hold_out,
    search_batches,
    split_halves,
    steps_per_epoch,
)
from racl_tf.defences import make_defence
from racl_tf.errors import UsageError
from racl_tf.evaluation.models import load_network
from racl_tf.export import export_saved_model, verify_saved_model
from racl_tf.files import read_table, write_json
from racl_tf.networks.ensemble import Ensemble
from racl_tf.networks.registry import make_network, network_options
from racl_tf.networks.supernet import Supernet
from racl_tf.random import derive
from racl_tf.reporting import draw_genotype, plot_search
from racl_tf.runs.equipment import augmentation, load_data, set_precision, sgd, strategy
from racl_tf.runs.folder import StepFolder
from racl_tf.space import Genotype, random_genotype
from racl_tf.training import callbacks
from racl_tf.training.adversarial import AdversarialTrainer
from racl_tf.training.modes import search_mode
from racl_tf.training.search import RACLSearch

_LOGGER = logging.getLogger(__name__)


def run_search(config: ConfigDict, workdir: str) -> Genotype:
    """Searches a genotype and writes it to `workdir/search`: genotype.json and .png, histories, checkpoints."""
    step = StepFolder(workdir, "search", config, ("attack", "search"))
    result = step.path / "genotype.json"
    if result.exists():
        _LOGGER.info("The search in %s is finished.", step.path)
        return Genotype.load(result)
    settings, name = config.search, f"{config.data.name}, seed {config.seed}"
    if search_mode(settings.mode).architecture is None:
        genotype = random_genotype(derive(config.seed, "random cells"), name=name)
        draw_genotype(genotype, step.begin() / "genotype.png")
        genotype.save(result)
        return genotype
    dataset = load_data(config)
    weights, architecture = split_halves(dataset.train, seed=derive(config.seed, "halves"))
    steps = steps_per_epoch(weights, settings.batch_size)
    with strategy().scope():
        model = make_search(config, dataset, steps * settings.epochs)
        folder = step.begin()
        checkpoints = callbacks.Checkpoints(model, folder / "checkpoints")
        first_epoch = checkpoints.restore()
    stream = search_batches(
        weights,
        architecture,
        settings.batch_size,
        seed=config.seed,
        augmentation=augmentation(config),
        first_epoch=first_epoch,
    )
    model.fit(
        stream,
        epochs=settings.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            callbacks.WarmUp(settings.warmup_epochs),
            callbacks.StopOnDivergence(),
            callbacks.ArchitectureLog(folder / "architecture.jsonl"),
            callbacks.StepFile(folder / "steps.csv"),
            callbacks.HistoryFile(folder / "history.csv"),
            keras.callbacks.TensorBoard(folder / "events", write_graph=False),
            callbacks.Progress(settings.epochs, "search"),
            checkpoints,
        ],
    )
    genotype = model.genotype(name)
    draw_genotype(genotype, folder / "genotype.png")
    plot_search(folder / "steps.csv", folder / "architecture.jsonl", folder / "search.png")
    genotype.save(result)
    return genotype


def make_search(config: ConfigDict, dataset: Dataset, total_steps: int) -> RACLSearch:
    """Returns the compiled search model of a configuration."""
    set_precision(config)
    settings, threat, mode = config.search, config.attack, search_mode(config.search.mode)
    if mode.architecture is None:
        raise UsageError(f"Nothing is trained in search mode {settings.mode!r}. Use `racl_tf.space.random_genotype`.")
    attack = None
    if settings.attack_steps:
        attack = pgd(threat.eps, threat.step_size, settings.attack_steps, norm=threat.norm)
    constraint = None
    if mode.constrained:
        constraint = ConfidenceConstraint(
            eta=settings.eta,
            rho=settings.rho,
            reduction=settings.reduction,
            target=settings.target,
            form=settings.form,
            scale_free=settings.scale_free,
        )
    model = RACLSearch(
        Supernet(
            dataset.num_classes,
            channels=settings.channels,
            cells=settings.cells,
            input_shape=dataset.input_shape,
            partial=mode.partial if settings.partial is None else settings.partial,
            mean=dataset.mean,
            std=dataset.std,
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
    model.compile(
        sgd(settings, total_steps),
        keras.optimizers.Adam(settings.architecture_learning_rate, beta_1=0.5, beta_2=0.999),
        weight_decay=settings.weight_decay,
        architecture_weight_decay=settings.architecture_weight_decay,
        clip_norm=settings.clip_norm,
    )
    return model


def load_search(config: ConfigDict, workdir: str) -> RACLSearch:
    """Returns the search model of a finished search, as its last epoch left it.

    Raises:
        UsageError: the search in `workdir` is not finished, was begun with other settings, or drew cells at random.
    """
    step = StepFolder(workdir, "search", config, ("attack", "search"))
    if not (step.path / "genotype.json").exists():
        raise UsageError(f"There is no finished search {str(step.path)!r}. Run racl-search with this --workdir first.")
    dataset = load_data(config)
    steps = steps_per_epoch(
        split_halves(dataset.train, seed=derive(config.seed, "halves"))[0], config.search.batch_size
    )
    model = make_search(config, dataset, steps * config.search.epochs)
    callbacks.Checkpoints(model, step.path / "checkpoints").restore()
    return model


def run_training(config: ConfigDict, workdir: str) -> pathlib.Path:
    """Trains the searched (or configured) network under a defence and returns the path of the best checkpoint."""
    network = _network(config, workdir)
    step = StepFolder(workdir, "train", config, ("attack", "train"))
    best, finished, used = (step.path / name for name in ("best.keras", "finished.json", "genotype.json"))
    if finished.exists():
        _LOGGER.info("The training in %s is finished.", step.path)
        return best
    if isinstance(network, Genotype) and used.exists() and Genotype.load(used) != network:
        raise UsageError(
            f"The training in {str(step.path)!r} was begun with another genotype. Choose another --workdir."
        )
    settings, dataset = config.train, load_data(config)
    rest, held_out = hold_out(dataset.train, settings.held_out, seed=derive(config.seed, "held out"))
    steps = steps_per_epoch(rest, settings.batch_size)
    with strategy().scope():
        trainer = make_trainer(config, network, dataset, steps * settings.epochs)
        folder = step.begin()
        checkpoints = callbacks.Checkpoints(trainer, folder / "checkpoints")
        first_epoch = checkpoints.restore()
    if genotype := getattr(trainer.network, "genotype", None):
        genotype.save(used)
    validation = tf.data.Dataset.from_tensor_slices((held_out.images(), held_out.y)).batch(settings.batch_size)
    monitor = "val_accuracy" if trainer.validation_attack is None else "val_robust_accuracy"
    stream = batches(
        rest, settings.batch_size, seed=config.seed, augmentation=augmentation(config), first_epoch=first_epoch
    )
    trainer.fit(
        stream,
        epochs=settings.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        validation_data=validation,
        shuffle=False,
        verbose=0,
        callbacks=[
            callbacks.StopOnDivergence(),
            callbacks.BestNetwork(best, folder / "history.csv", monitor=monitor),
            callbacks.HistoryFile(folder / "history.csv"),
            keras.callbacks.TensorBoard(folder / "events", write_graph=False),
            callbacks.Progress(settings.epochs, "training"),
            checkpoints,
        ],
    )
    history = read_table(folder / "history.csv")
    chosen = max(history, key=lambda row: float(row[monitor]))
    write_json(finished, {"monitor": monitor, "best_epoch": int(chosen["epoch"]), "value": float(chosen[monitor])})
    return best


def make_trainer(config: ConfigDict, network: str | Genotype, dataset: Dataset, total_steps: int) -> AdversarialTrainer:
    """Returns the compiled trainer of a configuration, of a network that `make_network` knows."""
    set_precision(config)
    settings, threat = config.train, config.attack
    sizes = {name: settings[name] for name in ("channels", "cells", "growth") if settings[name] is not None}
    options = {name: size for name, size in sizes.items() if name in network_options(network)}
    options |= {name: settings[name] for name in ("auxiliary", "drop_path") if settings[name]}
    defence = make_defence(
        settings.defence, eps=threat.eps, step_size=threat.step_size, steps=settings.attack_steps, norm=threat.norm
    )
    members = [
        make_network(
            network,
            dataset.num_classes,
            input_shape=dataset.input_shape,
            mean=dataset.mean,
            std=dataset.std,
            seed=derive(config.seed, f"network{index or ''}"),
            **options,
        )
        for index in range(defence.members)
    ]
    validation = None  # what is trained on clean images is chosen by its accuracy on them
    if getattr(defence, "attack", None) is not None:
        validation = pgd(threat.eps, threat.step_size, settings.validation_steps, norm=threat.norm)
    trainer = AdversarialTrainer(
        members[0] if len(members) == 1 else Ensemble(members), defence, validation_attack=validation, seed=config.seed
    )
    trainer.compile(sgd(settings, total_steps), weight_decay=settings.weight_decay, clip_norm=settings.clip_norm)
    return trainer


def run_export(config: ConfigDict, workdir: str) -> tuple[pathlib.Path, float]:
    """Exports the best checkpoint to `workdir/saved_model` and compares it, reloaded, on test images.

    Returns the path and the largest difference of logits.
    """
    network, path = load_network(network_path(workdir)), pathlib.Path(workdir).expanduser() / "saved_model"
    dataset = load_data(config)
    if not path.exists():
        export_saved_model(network, path, class_names=dataset.class_names)
    return path, verify_saved_model(network, path, dataset.test.images(np.arange(min(len(dataset.test), 64))))


def network_path(workdir: str) -> pathlib.Path:
    """Returns the path of the best checkpoint of the training in `workdir`.

    Raises:
        UsageError: there is none.
    """
    path = pathlib.Path(workdir).expanduser() / "train" / "best.keras"
    if not path.exists():
        raise UsageError(f"There is no trained network {str(path)!r}. Run racl-train with this --workdir first.")
    return path


def _network(config: ConfigDict, workdir: str) -> str | Genotype:
    """Returns what is trained: a name in the registry, or the genotype that was given or searched."""
    name = config.train.network
    if name and not name.lower().endswith(".json"):
        return name
    path = pathlib.Path(name or pathlib.Path(workdir).expanduser() / "search" / "genotype.json")
    if not name and not path.exists():
        raise UsageError(
            f"There is no searched genotype {str(path)!r}. Run racl-search with this --workdir first, or name a "
            "network or a genotype's .json file: --config.train.network=racl."
        )
    return Genotype.load(path)
