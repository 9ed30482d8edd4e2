"""What a search or a training will take, measured on a few of its steps before hours are spent."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pathlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.data import Dataset, batches, search_batches, steps_per_epoch
from racl_tf.distribution import make_strategy
from racl_tf.errors import UsageError
from racl_tf.memory import machine_memory, process_memory, released_graphs
from racl_tf.networks.supernet import Supernet
from racl_tf.result import Result
from racl_tf.runs.common import batching, load_data, search_halves, training_images
from racl_tf.runs.search import compare_gains, make_search
from racl_tf.runs.train import make_trainer, network_to_train
from racl_tf.search import RACLSearch
from racl_tf.search.modes import search_mode
from racl_tf.search.statistics import constraint_statistics
from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.callbacks import format_time
from racl_tf.training.checkpoints import KEPT, Checkpoints

_STEPS = 6  # that are measured of each phase at least, the first of which compiles
_SECONDS = 5  # that measured steps take at least together, after the first: those of small networks are soon faster
_SHARE = 4  # the batch is a fourth of the wanted one while it is not known whether that fits
_EPOCH, _PICTURES = 180_000, 700_000  # bytes that a search writes each epoch (events, architectures), and at its end
_SMALL = 32  # images of a batch of which this is not asked


@dataclass(frozen=True)
class DryRun(Result):
    """What a run will take.

    Arguments:
        what: "search" or "training".
        parameters: trainable ones of the network, without those of the architecture.
        multiply_adds: of the network for one image; of a supernet with all its operations.
        batch_size: images of a step.
        steps: of the whole run by phase.
        step_seconds: of a step by phase, the median.
        compile_seconds: of the first steps of all phases.
        epoch_seconds: what comes at an epoch's end: validation, statistics, the state.
        end_seconds: what comes at the run's end: the gains of a search's operations.
        epochs: of the whole run.
        memory: the process's peak in bytes.
        machine_memory: in bytes, of this machine or container.
        disk: bytes that the folder will take.
    """

    what: str
    parameters: int
    multiply_adds: int
    batch_size: int
    steps: Mapping[str, int]
    step_seconds: Mapping[str, float]
    compile_seconds: float
    epoch_seconds: float
    end_seconds: float
    epochs: int
    memory: int
    machine_memory: int
    disk: int

    @property
    def seconds(self) -> float:
        """Expected of the whole run, without the start of Python and the reading of data."""
        steady = sum(self.steps[phase] * seconds for phase, seconds in self.step_seconds.items())
        return self.compile_seconds + steady + self.epochs * self.epoch_seconds + self.end_seconds

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds}

    def __str__(self) -> str:
        steps = "; ".join(
            f"{self.steps[phase]:,} steps of {seconds:.3g} s in the {phase}"
            for phase, seconds in self.step_seconds.items()
        )
        lines = [
            f"Dry run of the {self.what}; nothing of it is kept.",
            f"Network: {self.parameters:,} parameters, {self.multiply_adds / 1e6:,.1f} million multiply-adds an image.",
            f"Time: {format_time(self.seconds)} for {self.epochs} epochs: {steps}, in batches of {self.batch_size}; "
            f"{format_time(self.compile_seconds)} to compile; {self.epoch_seconds:.2g} s at each epoch's end"
            + (f", {format_time(self.end_seconds)} at the run's." if self.end_seconds else "."),
            f"Memory: at most {_gigabytes(self.memory)} of {_gigabytes(self.machine_memory)}.",
            f"Disk: {_gigabytes(self.disk)}.",
        ]
        return "\n".join(lines) + "\n"


def dry_run_search(config: ConfigDict, workdir: str) -> DryRun:
    """Measures a few steps of each phase of a search.

    Raises:
        UsageError: cells are drawn at random, the batch does not fit into memory, or several processes are configured.
    """
    del workdir
    settings = config.search
    if search_mode(settings.mode).architecture is None:
        raise UsageError(f"Nothing is searched in mode {settings.mode!r}: there is nothing to measure.")
    dataset = load_data(config)
    halves = search_halves(config, dataset)
    per_epoch = steps_per_epoch(halves[0], settings.batch_size)
    strategy = _strategy(config)

    def make() -> RACLSearch:
        with strategy.scope():
            return make_search(config, dataset, per_epoch * settings.epochs)

    def stream(batch_size: int) -> tf.data.Dataset:
        return search_batches(*halves, **batching(config, batch_size))

    phases = {"warm-up": settings.warmup_epochs, "search": settings.epochs - settings.warmup_epochs}
    _check_memory(make, stream, settings, "search")
    model = make()
    compiled, seconds = 0.0, {}
    for phase in (phase for phase, epochs in phases.items() if epochs):
        model.searching = phase == "search"
        model.make_train_function(force=True)
        first, seconds[phase] = _measure(model, stream(settings.batch_size))
        compiled += first
    first, later = (_seconds(lambda: constraint_statistics(model)) for _ in range(2))
    return _report(
        "search",
        model,
        model.supernet,
        dataset,
        batch_size=settings.batch_size,
        steps={phase: epochs * per_epoch for phase, epochs in phases.items() if epochs},
        step_seconds=seconds,
        compile_seconds=compiled + first - later,
        epoch_seconds=later,
        end_seconds=_seconds(lambda: compare_gains(model, halves[1])) if model.constraint is not None else 0.0,
        epochs=settings.epochs,
        written=settings.epochs * _EPOCH + _PICTURES,
    )


def dry_run_training(config: ConfigDict, workdir: str) -> DryRun:
    """Measures a few steps and validation batches of a training.

    Raises:
        UsageError: there is no genotype to train yet, the batch does not fit into memory, or several processes are
            configured.
    """
    settings, dataset = config.train, load_data(config)
    network = network_to_train(config, workdir)
    images, held_out = training_images(config, dataset)
    per_epoch = steps_per_epoch(images, settings.batch_size)
    strategy = _strategy(config)

    def make() -> AdversarialTrainer:
        with strategy.scope():
            return make_trainer(config, network, dataset, per_epoch * settings.epochs)

    def stream(batch_size: int) -> tf.data.Dataset:
        return batches(images, **batching(config, batch_size))

    _check_memory(make, stream, settings, "train")
    trainer = make()
    compiled, seconds = _measure(trainer, stream(settings.batch_size))
    validation = 0.0
    if held_out is not None:
        some = held_out.take(range(min(len(held_out), settings.batch_size)))
        arguments = {"batch_size": settings.batch_size, "verbose": 0}
        first = _seconds(lambda: trainer.evaluate(some.images(), some.y, **arguments))
        validation = _seconds(lambda: trainer.evaluate(some.images(), some.y, **arguments))
        compiled += first - validation
        validation *= len(held_out) / len(some)
    return _report(
        "training",
        trainer,
        trainer.network,
        dataset,
        batch_size=settings.batch_size,
        steps={"training": settings.epochs * per_epoch},
        step_seconds={"training": seconds},
        compile_seconds=compiled,
        epoch_seconds=validation,
        end_seconds=0.0,
        epochs=settings.epochs,
        written=sum(math.prod(variable.shape) * 4 for variable in trainer.network.variables),
    )


def _strategy(config: ConfigDict) -> tf.distribute.Strategy:
    if config.strategy == "multi_worker":
        raise UsageError(
            "A dry run measures what one process takes. Received: strategy=multi_worker. Leave it out, and give the "
            "batch size that is left to each process."
        )
    return make_strategy(config.strategy)


def multiply_adds(network: keras.Model, dataset: Dataset) -> int:
    """Returns the multiply-adds of a network, or of a supernet with all its operations, for one image."""
    image = tf.TensorSpec([1, *dataset.input_shape])
    weights = [tf.ones([2, 14, 8]), tf.ones([2, 14])] if isinstance(network, Supernet) else []
    forward = tf.function(lambda x: network(x, *weights, training=False), autograph=False)
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    graph = forward.get_concrete_function(image).graph
    with _quiet():
        profile = tf.compat.v1.profiler.profile(graph, options=options)
    return int(profile.total_float_ops) // 2


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TensorFlow, which says at each count that its profiler is of version 1."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Clock(keras.callbacks.Callback):
    """Stops after so many steps and, from the first to the last, so many seconds."""

    def __init__(self, steps: int, seconds: float) -> None:
        super().__init__()
        self._steps, self._seconds = steps, seconds

    def on_train_begin(self, logs: object = None) -> None:
        self.times = [time.monotonic()]

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.times.append(time.monotonic())
        if batch + 1 >= self._steps and self.times[-1] - self.times[1] >= self._seconds:
            self.model.stop_training = True


def _measure(
    model: keras.Model, stream: tf.data.Dataset, steps: int = _STEPS, seconds: float = _SECONDS
) -> tuple[float, float]:
    """Returns the seconds of the first step beyond those of a later one, and the median of the last half of these."""
    clock = _Clock(steps, seconds)
    model.fit(stream, shuffle=False, verbose=0, callbacks=[clock])
    first, *later = (after - before for before, after in pairwise(clock.times))
    steady = statistics.median(later[len(later) // 2 :]) if later else first
    return max(first - steady, 0.0), steady


def _check_memory(
    make: Callable[[], keras.Model], stream: Callable[[int], tf.data.Dataset], settings: ConfigDict, section: str
) -> None:
    """Checks, by a step of a fourth of a batch, that a whole one will fit: what a step takes grows at most as it does.

    Raises:
        UsageError: it will not.
    """
    batch_size = settings.batch_size
    if batch_size <= _SMALL:
        return
    few = max(math.ceil(batch_size / _SHARE), settings.accumulation_steps)
    with released_graphs():  # and of the model, whose memory is taken again
        model = make()
        before = _resident()
        _reset_peak()
        _measure(model, stream(few), steps=2, seconds=0)
        del model
    image, available = (_peak() - before) / few, machine_memory()
    expected = before + image * batch_size
    if expected > available:
        fitting = max(0, int((available - before) / image))
        advice = f"A batch of {fitting} would fit" if fitting else "Not even one image would fit"
        raise UsageError(
            f"A step in batches of {batch_size} takes about {_gigabytes(expected)}, and this machine has "
            f"{_gigabytes(available)}. {advice}: lower {section}.batch_size, {section}.channels or {section}.cells, "
            f"raise {section}.accumulation_steps={settings.accumulation_steps}, or set {section}.recompute."
        )


def _report(
    what: str, model: keras.Model, network: keras.Model, dataset: Dataset, *, written: int, **measured: Any
) -> DryRun:
    peak = _peak()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(model, pathlib.Path(folder))
        saved = _seconds(checkpoints.save)
        state = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())
    measured["epoch_seconds"] += saved
    return DryRun(
        what,
        parameters=sum(math.prod(variable.shape) for variable in network.trainable_variables),
        multiply_adds=multiply_adds(network, dataset),
        memory=peak,
        machine_memory=machine_memory(),
        disk=KEPT * state + written,
        **measured,
    )


def _seconds(act: Callable[[], object]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _resident() -> int:
    return process_memory("VmRSS") or _peak()


def _peak() -> int:
    """Returns the most bytes of memory that this process had since `_reset_peak`, or ever where that is not known."""
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return process_memory("VmHWM") or unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _reset_peak() -> None:
    path = pathlib.Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")
