"""What the steps of a run share: the data, the precision, the devices, the weights' optimizer."""

import datetime
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.data import Augmentation, Dataset, ImageSet, augmentation_for, hold_out, load_dataset, split_halves
from racl_tf.distribution import WORKERS, make_strategy, naming_lost_workers
from racl_tf.memory import released_graphs
from racl_tf.seeding import derive
from racl_tf.tables import format_radius
from racl_tf.training.checkpoints import Position

P = ParamSpec("P")
R = TypeVar("R")


def load_data(config: ConfigDict) -> Dataset:
    """Returns the data set of a configuration; the last two are kept, for the steps that follow."""
    data = config.data
    return _load(
        data.name,
        data_dir=data.data_dir,
        train_size=data.train_size,
        test_size=data.test_size,
        image_size=data.image_size,
        seed=config.seed,
        max_pixels=data.max_pixels,
        in_memory=data.in_memory,
        cache_dir=data.cache_dir,
    )


_load = functools.lru_cache(maxsize=2)(load_dataset)


def search_halves(config: ConfigDict, dataset: Dataset) -> tuple[ImageSet, ImageSet]:
    """Returns the training images that a search's weights learn from, and those that its architecture does."""
    return split_halves(dataset.train, seed=derive(config.seed, "halves"))


def training_images(config: ConfigDict, dataset: Dataset) -> tuple[ImageSet, ImageSet | None]:
    """Returns the images that are trained on, and those that choose the best epoch; None if all are trained on."""
    if not config.train.held_out:
        return dataset.train, None
    return hold_out(dataset.train, config.train.held_out, seed=derive(config.seed, "held out"))


def describe_images(images: ImageSet, dataset: Dataset) -> str:
    """Returns how many images of which kind they are, for people."""
    shape = "x".join(map(str, dataset.input_shape))
    return f"{len(images):,} images of {shape} in {dataset.num_classes} classes"


def describe_threat(config: ConfigDict) -> str:
    """Returns the ball and the step of attacks, for people."""
    threat = config.attack
    return f"{threat.norm} eps {format_radius(threat.eps)}, step {format_radius(threat.step_size)}"


def bars_are_shown() -> bool:
    """Whether progress is shown by bars, which only a terminal takes; elsewhere lines stand for them."""
    return sys.stderr.isatty()


def provenance(config: ConfigDict, **others: str) -> dict[str, Any]:
    """Returns what results were measured on and by, and when, as results.json records it."""
    threat, now = config.attack, datetime.datetime.now().astimezone()
    return {
        "date": now.isoformat(timespec="seconds"),
        "dataset": config.data.name,
        **others,
        "norm": threat.norm,
        "eps": threat.eps,
    }


def goes_on(position: Position) -> str:
    """Returns what a training says before it begins or goes on, and from where."""
    step = f", step {position.step + 1}" if position.step else ""
    begun = f"It goes on at epoch {position.epoch + 1}{step}. " if any(position) else ""
    return f"{begun}The first step is compiled, which takes a while."


def set_precision(config: ConfigDict) -> None:
    """Sets the dtype policy that layers made from here on have, and whether operations have to be deterministic."""
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy("mixed_bfloat16" if config.mixed_precision else "float32")


def augmentation(config: ConfigDict) -> Augmentation:
    """Returns what is done to training images: what is configured, else what is usual for the data set."""
    data, usual = config.data, augmentation_for(config.data.name)
    return Augmentation(
        crop=usual.crop if data.crop is None else data.crop,
        flip=usual.flip if data.flip is None else data.flip,
        cutout=data.cutout,
    )


def batching(config: ConfigDict, batch_size: int) -> dict[str, Any]:
    """Returns what streams of training batches take besides the images: this process's share of each batch."""
    return {
        "batch_size": batch_size,
        "seed": config.seed,
        "augmentation": augmentation(config),
        "share": WORKERS.share(batch_size),
    }


def distributed(run: Callable[Concatenate[ConfigDict, P], R]) -> Callable[Concatenate[ConfigDict, P], R]:
    """Returns a step of a run that begins on the configured devices and ends when all processes have ended it.

    The strategy is made first, since that of several processes has to come before any other operation. The
    step's graphs end with it, so that one process may make many.
    """

    @functools.wraps(run)
    def together(config: ConfigDict, *args: P.args, **kwargs: P.kwargs) -> R:
        make_strategy(config.strategy)
        with naming_lost_workers(), released_graphs():
            result = run(config, *args, **kwargs)
            WORKERS.wait()
        return result

    return together


def sgd(settings: ConfigDict, total_steps: int, milestones: Sequence[int] = ()) -> keras.optimizers.SGD:
    """Returns SGD with momentum and a learning rate that falls over the steps, of a section's settings.

    Arguments:
        settings: have `learning_rate` and `momentum`.
        total_steps: of the training; over these the rate falls to 0 like a cosine, unless there are milestones.
        milestones: numbers of steps, rising, after which the rate is divided by 10.
    """
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, total_steps)
    if milestones:
        rates = [settings.learning_rate / 10**count for count in range(len(milestones) + 1)]
        last = [steps - 1 for steps in milestones]  # Keras counts steps from 0 and keeps a rate up to its boundary
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(last, rates)
    return keras.optimizers.SGD(schedule, momentum=settings.momentum)
