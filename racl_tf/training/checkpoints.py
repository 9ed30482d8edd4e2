"""The state of a training, saved so that whatever ends it, the same command goes on from it, exactly."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from racl_tf.distribution import WORKERS
from racl_tf.errors import UsageError, reason_of
from racl_tf.files import UNFINISHED, load_arrays, sync, whole_folder, write_text
from racl_tf.interruption import INTERRUPTION

KEPT = 3
"""How many states are kept."""

_STATE = "state.json"
_VARIABLES = "variables.npz"
_NAME = re.compile(r"epoch-(\d{5})-step-(\d{7})")
_OLD_NAME = re.compile(r"ckpt-(\d+)\.index")
_LOGGER = logging.getLogger(__name__)


class Position(NamedTuple):
    """How far a training is: its finished epochs, and the steps of the next one that are done."""

    epoch: int = 0
    step: int = 0


class Record(keras.callbacks.Callback):
    """A callback that writes a file of what has happened, which is kept with the state.

    Arguments:
        path: of the file, or None to write none.
    """

    path: Any  # pathlib.Path, but where None is allowed

    def __init__(self, path: pathlib.Path | None) -> None:
        super().__init__()
        self.path = path

    def flush(self) -> None:
        """Writes what is not in the file yet, since the state is about to be saved."""


class Checkpoints(keras.callbacks.Callback):
    """Saves the state of a training at every epoch's end and every few minutes, and goes on from it, exactly.

    A state is a folder `epoch-EEEEE-step-SSSSSSS` that is there completely or not at all: all variables of the model
    and its optimizers (an .npz file), the running means of the epoch that has begun, copies of what `records` have
    written, and the SHA-256 digests of all of these. The last `KEPT` are kept. When a signal asks the program to end,
    the state is saved after the step that runs, and KeyboardInterrupt is raised.

    Of several processes (`racl_tf.distribution`) the chief writes, all read, and all end when one is asked to.

    Arguments:
        model: compiled.
        directory: of the states.
        minutes: at most that many pass between two states.
        records: callbacks whose files belong to the state; they must come before this one among fit's callbacks.
    """

    def __init__(
        self, model: keras.Model, directory: pathlib.Path, *, minutes: float = 5.0, records: Sequence[Record] = ()
    ) -> None:
        super().__init__()
        self.directory = directory
        self.minutes = minutes
        self.records = [record for record in records if record.path is not None]
        self.position = Position()
        self._owner = model
        self._means: list[float] | None = None
        self._saved = time.monotonic()
        self._steps: int | None = None

    def restore(self) -> Position:
        """Restores the newest whole state, if there is one, and returns how far it is.

        One that is damaged or of another model is passed over in a line. What records have written since is repeated,
        and their files are as they were then.

        Raises:
            UsageError: there are states but none is whole, there are none although more than an epoch was recorded, or
                several processes do not find the same one.
        """
        position = self._restore_newest()
        WORKERS.check_same(position, f"state in {str(self.directory)!r}")
        return position

    def _restore_newest(self) -> Position:
        reasons = []
        for name, restore in self._candidates():
            try:
                self.position, files = restore()
            except Exception as error:  # what damaged bytes raise is of a dozen kinds
                reasons.append(f"{str(self.directory / name)!r} ({reason_of(error, 200)})")
                _LOGGER.warning("Passed over a state that is damaged or of another model: %s.", reasons[-1])
                continue
            if reasons:
                _LOGGER.warning("It goes on from %r and repeats what came after.", name)
            self._restore_records(files)
            return self.position
        if reasons:
            raise UsageError(
                f"No state of this training is whole: {'; '.join(reasons)}. Put one back, or start in a new folder."
            )
        longest = max((self._recorded_epochs(record) for record in self.records), default=0)
        if longest > 1:
            raise UsageError(
                f"{str(self.directory)!r} holds no state although {longest} epochs have been recorded beside it. Put "
                "the folder back, or start in a new one."
            )
        self._restore_records(None)
        return self.position

    def fit(
        self,
        stream: Callable[..., tf.data.Dataset],
        *,
        epochs: int,
        steps: int,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        **kwargs: Any,
    ) -> None:
        """Trains the model from where its state is to the end.

        Arguments:
            stream: returns the endless batches from `first_epoch` and `first_step` on, as `racl_tf.data.batches` does.
            epochs: of the whole training.
            steps: of an epoch.
            callbacks: of `fit`, besides this one.
            **kwargs: as `keras.Model.fit` takes them.
        """
        try:
            while self.position.epoch < epochs:
                epoch, step = self.position
                self._owner.fit(
                    WORKERS.distribute(functools.partial(stream, first_epoch=epoch, first_step=step)),
                    initial_epoch=epoch,
                    epochs=epoch + 1 if step else epochs,
                    steps_per_epoch=steps - step,
                    shuffle=False,
                    verbose=0,
                    callbacks=[*callbacks, self],
                    **kwargs,
                )
                if self._owner.stop_training:
                    break
        finally:
            INTERRUPTION.release()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._steps = self.position.step + self.params["steps"] if self.params.get("steps") else None
        if self._means is not None:
            for variable, value in zip(self._mean_variables(), self._means, strict=True):
                variable.assign(value)
            self._means = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        INTERRUPTION.hold()
        self.position = self.position._replace(step=self.position.step + 1)
        if self.position.step == self._steps:
            return  # the epoch's end saves, when it has been validated
        is_due = self._agree(WORKERS.is_chief and time.monotonic() - self._saved >= 60 * self.minutes)
        if INTERRUPTION.requested or is_due:
            self.save()
        INTERRUPTION.raise_if_requested()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._agree()
        INTERRUPTION.raise_if_requested()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.position = Position(epoch + 1)
        if self._agree(getattr(self._owner, "stop_training", False)):
            self._owner.stop_training = True
        self.save()
        INTERRUPTION.raise_if_requested()

    def _agree(self, wish: bool = False) -> bool:
        """Returns whether one of the processes wishes something; all learn of a request to end that one has got."""
        wished, requested = WORKERS.sum([wish, INTERRUPTION.requested])
        if requested:
            INTERRUPTION.pass_on()
        return bool(wished)

    def save(self) -> None:
        """Saves the state; the oldest beyond `KEPT` is removed when that is done."""
        arrays = {f"{index:05d}": value.numpy() for index, value in enumerate(self._variables())}
        means = [float(variable.numpy()) for variable in self._mean_variables()] if self.position.step else None
        if not WORKERS.is_chief:  # which reads them all the same, since some are summed over all replicas
            return
        for record in self.records:
            record.flush()
        state = self.directory / f"epoch-{self.position.epoch:05d}-step-{self.position.step:07d}"
        for leftover in self.directory.glob(f"{UNFINISHED}*"):  # states of other names too, which may not come again
            shutil.rmtree(leftover)
        with whole_folder(state) as unfinished:
            unfinished.mkdir()
            self._write(unfinished, arrays, means)
            if state.exists():  # one that was passed over
                shutil.rmtree(state)
        sync(self.directory)
        self._remove_old()
        self._saved = time.monotonic()

    def _write(self, unfinished: pathlib.Path, arrays: Mapping[str, np.ndarray], means: list[float] | None) -> None:
        with open(unfinished / _VARIABLES, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        for record in self._record_paths():
            if record.exists():
                shutil.copyfile(record, unfinished / record.name)
        content = {
            **self.position._asdict(),
            "means": means,
            "files": {path.name: _digest(path.read_bytes()) for path in sorted(unfinished.iterdir())},
        }
        text = json.dumps(content, indent=2)
        (unfinished / _STATE).write_text(json.dumps({"digest": _digest(text.encode()), **content}, indent=2))
        for path in unfinished.iterdir():
            sync(path)
        sync(unfinished)

    def _variables(self) -> list[Any]:
        """Returns the variables of the model and of its optimizers, each once."""
        optimizers = [value for value in vars(self._owner).values() if isinstance(value, keras.optimizers.Optimizer)]
        variables = [*self._owner.variables, *(variable for each in optimizers for variable in each.variables)]
        return list({id(variable): variable for variable in variables}.values())

    def _mean_variables(self) -> list[Any]:
        return [variable for metric in self._owner.metrics for variable in metric.variables]

    def _record_paths(self) -> list[pathlib.Path]:
        return [record.path for record in self.records]

    def _candidates(self) -> Iterator[tuple[str, Callable[[], tuple[Position, dict[str, bytes] | None]]]]:
        """Yields the states by name, the newest first, and last those of versions that kept one an epoch."""
        for name in sorted(filter(_NAME.fullmatch, self._names()), reverse=True):
            yield name, functools.partial(self._read, self.directory / name)
        for number in sorted(
            (int(match[1]) for match in map(_OLD_NAME.fullmatch, self._names()) if match), reverse=True
        ):
            yield f"ckpt-{number}", functools.partial(self._read_old, self.directory / f"ckpt-{number}")

    def _names(self) -> list[str]:
        return [path.name for path in self.directory.iterdir()] if self.directory.is_dir() else []

    def _read(self, state: pathlib.Path) -> tuple[Position, dict[str, bytes]]:
        content = json.loads((state / _STATE).read_text())
        digest = content.pop("digest")
        if digest != _digest(json.dumps(content, indent=2).encode()):
            raise ValueError(f"{_STATE} is not what was written")
        files = {name: (state / name).read_bytes() for name in content["files"]}
        for name, value in files.items():
            if _digest(value) != content["files"][name]:
                raise ValueError(f"{name} is not what was written")
        arrays, variables = load_arrays(state / _VARIABLES), self._variables()
        if [value.shape for value in arrays.values()] != [tuple(variable.shape) for variable in variables]:
            raise ValueError("its variables have other shapes than the model's")
        if content["means"] is not None and len(content["means"]) != len(self._mean_variables()):
            raise ValueError("it has other means than the model")
        for variable, value in zip(variables, arrays.values(), strict=True):
            variable.assign(value)
        self._means = content["means"]
        return Position(content["epoch"], content["step"]), files

    def _read_old(self, prefix: pathlib.Path) -> tuple[Position, None]:
        finished = tf.Variable(0, dtype=tf.int64)
        variables = [variable.value for variable in self._owner.variables]
        checkpoint = tf.train.Checkpoint(model=self._owner, variables=variables, finished_epochs=finished)
        checkpoint.restore(str(prefix)).assert_consumed()
        return Position(int(finished.numpy())), None

    def _restore_records(self, files: Mapping[str, bytes] | None) -> None:
        """Makes the files of records what they were at the state, from its copies or by leaving out what came later."""
        if not WORKERS.is_chief:
            return
        for path in self._record_paths():
            if files is not None and path.name in files:
                write_text(path, files[path.name].decode())
            elif path.exists():
                whole = _rows_until(path.read_text(), self.position.epoch, header=path.suffix == ".csv")
                write_text(path, whole) if whole else path.unlink()

    def _recorded_epochs(self, record: Record) -> int:
        if not record.path.exists():
            return 0
        return len({_epoch_of(line) for line in record.path.read_text(errors="replace").splitlines()} - {None})

    def _remove_old(self) -> None:
        """Removes whole states before the last `KEPT`; what is no state of this training, or ahead of it, is left."""
        found = (match for match in map(_NAME.fullmatch, self._names()) if match)
        past = sorted(match[0] for match in found if Position(int(match[1]), int(match[2])) <= self.position)
        for name in past[:-KEPT]:
            shutil.rmtree(self.directory / name)
        if len(past) >= KEPT:
            for path in (*self.directory.glob("ckpt-*"), self.directory / "checkpoint"):
                path.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _epoch_of(line: str) -> int | None:
    """Returns the epoch of a line of a table that begins with it, or of a JSON object with it; None of a header."""
    match = re.match(r'(?:\{"epoch": )?(\d+)\b', line)
    return int(match[1]) if match else None


def _rows_until(text: str, epoch: int, *, header: bool) -> str:
    lines = text.splitlines(keepends=True)
    head, rows = (lines[:1], lines[1:]) if header else ([], lines)
    kept = [row for row in rows if (_epoch_of(row) or epoch + 1) <= epoch]
    return "".join([*head, *kept]) if kept else ""
