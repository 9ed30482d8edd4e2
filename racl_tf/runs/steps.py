"""The steps of a run. Each continues where it was interrupted and, once finished, only reads its result."""

import functools
import logging
import pathlib

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.architecture.constraint import ConfidenceConstraint
from racl_tf.architecture.distribution import LogNormalArchitecture
from racl_tf.attacks import pgd
from racl_tf.data import (
    Augmentation,
    Dataset,
    augmentation_for,
    batches,
    hold_out,
    load_dataset,
    search_batches,
    split_halves,
    steps_per_epoch,
)
from racl_tf.errors import UsageError
from racl_tf.export import export_saved_model, verify_saved_model
from racl_tf.files import read_table, write_json
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.supernet import Supernet
from racl_tf.random import derive
from racl_tf.reporting import draw_genotype, plot_search
from racl_tf.runs.folder import StepFolder
from racl_tf.space import Genotype, get_genotype
from racl_tf.training import callbacks
from racl_tf.training.adversarial import AdversarialTrainer
from racl_tf.training.search import RACLSearch

_LOGGER = logging.getLogger(__name__)


def run_search(config: ConfigDict, workdir: str) -> Genotype:
    """Searches a genotype and writes it to `workdir/search`: genotype.json and .png, histories, checkpoints."""
    step = StepFolder(workdir, "search", config, ("attack", "search"))
    result = step.path / "genotype.json"
    if result.exists():
        _LOGGER.info("The search in %s is finished.", step.path)
        return Genotype.load(result)
    settings = config.search
    dataset = load_data(config)
    weights, architecture = split_halves(dataset.train, seed=derive(config.seed, "halves"))
    steps = steps_per_epoch(weights, settings.batch_size)
    with _strategy().scope():
        model = make_search(config, dataset, steps * settings.epochs)
        folder = step.begin()
        checkpoints = callbacks.Checkpoints(model, folder / "checkpoints")
        first_epoch = checkpoints.restore()
    stream = search_batches(
        weights,
        architecture,
        settings.batch_size,
        seed=config.seed,
        augmentation=_augmentation(config),
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
    genotype = model.genotype(f"{config.data.name}, seed {config.seed}")
    draw_genotype(genotype, folder / "genotype.png")
    plot_search(folder / "steps.csv", folder / "architecture.jsonl", folder / "search.png")
    genotype.save(result)
    return genotype


def make_search(config: ConfigDict, dataset: Dataset, total_steps: int) -> RACLSearch:
    """Returns the compiled search model of a configuration."""
    _set_precision(config)
    settings, threat = config.search, config.attack
    attack = None
    if settings.attack_steps:
        attack = pgd(threat.eps, threat.step_size, settings.attack_steps, norm=threat.norm)
    constraint = None
    if settings.constraint:
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
            partial=settings.partial,
            mean=dataset.mean,
            std=dataset.std,
            seed=derive(config.seed, "supernet"),
        ),
        LogNormalArchitecture(sigma=settings.sigma, normalize=settings.normalize),
        constraint,
        norms=settings.norms,
        norms_batch_norm=settings.norms_batch_norm,
        updates=settings.updates,
        attack=attack,
        seed=config.seed,
    )
    model.compile(
        _sgd(settings, total_steps),
        keras.optimizers.Adam(settings.architecture_learning_rate, beta_1=0.5, beta_2=0.999),
        weight_decay=settings.weight_decay,
        architecture_weight_decay=settings.architecture_weight_decay,
        clip_norm=settings.clip_norm,
    )
    return model


def run_training(config: ConfigDict, workdir: str) -> pathlib.Path:
    """Trains the network of the searched (or configured) genotype and returns the path of the best checkpoint."""
    genotype = _genotype(config, workdir)
    step = StepFolder(workdir, "train", config, ("attack", "train"))
    best, finished, used = (step.path / name for name in ("best.keras", "finished.json", "genotype.json"))
    if finished.exists():
        _LOGGER.info("The training in %s is finished.", step.path)
        return best
    if used.exists() and Genotype.load(used) != genotype:
        raise UsageError(
            f"The training in {str(step.path)!r} was begun with another genotype. Choose another --workdir."
        )
    settings, dataset = config.train, load_data(config)
    rest, held_out = hold_out(dataset.train, settings.held_out, seed=derive(config.seed, "held out"))
    steps = steps_per_epoch(rest, settings.batch_size)
    with _strategy().scope():
        trainer = make_trainer(config, genotype, dataset, steps * settings.epochs)
        folder = step.begin()
        checkpoints = callbacks.Checkpoints(trainer, folder / "checkpoints")
        first_epoch = checkpoints.restore()
    genotype.save(used)
    validation = tf.data.Dataset.from_tensor_slices((held_out.images(), held_out.y)).batch(settings.batch_size)
    monitor = "val_robust_accuracy" if settings.attack_steps else "val_accuracy"
    stream = batches(
        rest, settings.batch_size, seed=config.seed, augmentation=_augmentation(config), first_epoch=first_epoch
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


def make_trainer(config: ConfigDict, genotype: Genotype, dataset: Dataset, total_steps: int) -> AdversarialTrainer:
    """Returns the compiled trainer of a configuration."""
    _set_precision(config)
    settings, threat = config.train, config.attack
    network = GenotypeNetwork(
        genotype,
        dataset.num_classes,
        channels=settings.channels,
        cells=settings.cells,
        input_shape=dataset.input_shape,
        mean=dataset.mean,
        std=dataset.std,
        auxiliary=settings.auxiliary,
        drop_path=settings.drop_path,
        seed=derive(config.seed, "network"),
    )
    adversarial = settings.attack_steps > 0
    trainer = AdversarialTrainer(
        network,
        pgd(threat.eps, threat.step_size, settings.attack_steps, norm=threat.norm) if adversarial else None,
        validation_attack=pgd(threat.eps, threat.step_size, settings.validation_steps, norm=threat.norm)
        if adversarial
        else None,
        auxiliary_weight=settings.auxiliary_weight,
        seed=config.seed,
    )
    trainer.compile(_sgd(settings, total_steps), weight_decay=settings.weight_decay, clip_norm=settings.clip_norm)
    return trainer


def run_export(config: ConfigDict, workdir: str) -> tuple[pathlib.Path, float]:
    """Exports the best checkpoint to `workdir/saved_model` and compares it, reloaded, on test images.

    Returns the path and the largest difference of logits.
    """
    network, path = load_network(workdir), pathlib.Path(workdir).expanduser() / "saved_model"
    dataset = load_data(config)
    if not path.exists():
        export_saved_model(network, path, class_names=dataset.class_names)
    return path, verify_saved_model(network, path, dataset.test.images(np.arange(min(len(dataset.test), 64))))


def load_network(workdir: str) -> keras.Model:
    """Returns the best checkpoint of the training in `workdir`.

    Raises:
        UsageError: there is none.
    """
    return keras.saving.load_model(network_path(workdir), compile=False)


def network_path(workdir: str) -> pathlib.Path:
    """Returns the path of the best checkpoint of the training in `workdir`.

    Raises:
        UsageError: there is none.
    """
    path = pathlib.Path(workdir).expanduser() / "train" / "best.keras"
    if not path.exists():
        raise UsageError(f"There is no trained network {str(path)!r}. Run racl-train with this --workdir first.")
    return path


def _genotype(config: ConfigDict, workdir: str) -> Genotype:
    if config.train.genotype:
        return get_genotype(config.train.genotype)
    path = pathlib.Path(workdir).expanduser() / "search" / "genotype.json"
    if not path.exists():
        raise UsageError(
            f"There is no searched genotype {str(path)!r}. Run racl-search with this --workdir first, or name a "
            "published genotype or a .json file: --config.train.genotype=racl."
        )
    return Genotype.load(path)


def load_data(config: ConfigDict) -> Dataset:
    """Returns the data set of a configuration."""
    data = config.data
    return load_dataset(
        data.name,
        data_dir=data.data_dir,
        train_size=data.train_size,
        test_size=data.test_size,
        image_size=data.image_size,
        seed=config.seed,
    )


def _set_precision(config: ConfigDict) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16" if config.mixed_precision else "float32")


def _augmentation(config: ConfigDict) -> Augmentation:
    usual = augmentation_for(config.data.name)
    return Augmentation(crop=usual.crop, flip=usual.flip, cutout=config.data.cutout)


@functools.cache  # a second MirroredStrategy would reuse the first one's collective keys
def _strategy() -> tf.distribute.Strategy:
    """Returns the strategy of all GPUs if there are several, else the default one."""
    several = len(tf.config.list_logical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def _sgd(settings: ConfigDict, total_steps: int) -> keras.optimizers.SGD:
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, total_steps)
    return keras.optimizers.SGD(schedule, momentum=settings.momentum)
