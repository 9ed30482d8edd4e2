"""Keras callbacks of any training: what is logged, when to stop, how to go on."""

import logging
import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import keras
from tqdm import tqdm

from racl_tf.errors import UsageError
from racl_tf.files import damaged, read_table, whole, write_table
from racl_tf.training.checkpoints import Record

Logs = dict[str, Any] | None
_LOGGER = logging.getLogger(__name__)


class HistoryFile(Record):
    """Writes a table of every epoch's logs as CSV; a resumed run continues where it resumes.

    Unlike `keras.callbacks.CSVLogger` it takes logs that begin after the warm-up, leaves out NaN and never repeats an
    epoch. The seconds of an epoch that was interrupted are those since it was resumed.

    Arguments:
        path: of the file.
    """

    path: pathlib.Path

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        rows = finished_rows(self.path, epoch)
        values = {name: format_figure(value) for name, value in (logs or {}).items() if not math.isnan(value)}
        rows.append({"epoch": str(epoch + 1), "seconds": f"{time.monotonic() - self.start:.1f}", **values})
        write_table(self.path, rows)


class StopOnDivergence(keras.callbacks.Callback):
    """Stops training at the first value that is not finite, back at the weights this epoch began with.

    Raises:
        UsageError: with what diverged and what to change.
    """

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch = epoch
        self.kept = [variable.numpy() for variable in self.model.variables]

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        broken = [name for name, value in (logs or {}).items() if not math.isfinite(float(value))]
        if broken:
            for variable, value in zip(self.model.variables, self.kept, strict=True):
                variable.assign(value)
            raise UsageError(
                f"Training diverged: {', '.join(broken)} not finite at step {batch + 1} of epoch {self.epoch + 1}. "
                "The state at the end of the epoch before is kept. Lower the learning rate (of the weights if "
                "loss broke, of the architecture or rho if constraint or mu_F did) or the gradient's clip norm, "
                "and check that the images are finite; then start in a new folder."
            )


class BestNetwork(keras.callbacks.Callback):
    """Saves `model.network` as `.keras` whenever a validation figure has risen: the first of the highest.

    Where even the highest is no better than chance, the latest of them, which has learnt for longest. Without a figure
    it is saved after every epoch, so that the last one's stays.

    Arguments:
        path: of the file.
        history: the table of `HistoryFile`, whose earlier epochs a resumed run has to beat.
        monitor: the figure, or None.
        chance: the figure up to which it is no better than chance.
    """

    def __init__(
        self,
        path: pathlib.Path,
        history: pathlib.Path,
        *,
        monitor: str | None = "val_robust_accuracy",
        chance: float = 0.0,
    ) -> None:
        super().__init__()
        self.chance = chance
        self.path = path
        self.history = history
        self.monitor = monitor

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self._is_best(epoch, logs or {}):
            with whole(self.path) as temporary:
                self.model.network.save(temporary)

    def _is_best(self, epoch: int, logs: dict[str, Any]) -> bool:
        if self.monitor is None or not self.path.exists():
            return True
        earlier = [float(row[self.monitor]) for row in finished_rows(self.history, epoch)]
        value = float(format_figure(logs[self.monitor]))  # as the history has the earlier ones
        best = max(earlier, default=-math.inf)
        return value > best or (value == best and value <= self.chance)


class DropPathRamp(keras.callbacks.Callback):
    """Raises the probability that networks drop a path linearly over the epochs, as DARTS does.

    Epoch e of E, counted from 1, drops with p (e - 1) / E, where p is the network's `drop_path`: the first epoch drops
    nothing. As that is a function of the epoch, a resumed run has what an uninterrupted one would have had.

    Arguments:
        shares: the variables `drop_path_share` of networks such as `GenotypeNetwork(..., drop_path_ramp=True)`.
        epochs: of the whole run.
    """

    def __init__(self, shares: Sequence[keras.Variable], *, epochs: int) -> None:
        super().__init__()
        self.shares = shares
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        for share in self.shares:
            share.assign(epoch / self.epochs)


class Progress(keras.callbacks.Callback):
    """Shows a bar over the whole run in a terminal, and prints one line an epoch with the time left.

    Arguments:
        epochs: of the whole run.
        steps: of an epoch.
        title: what the bar is called.
    """

    shown = ("loss", "accuracy", "constraint", "theta", "entropy_alpha", "val_accuracy", "val_robust_accuracy")

    def __init__(self, epochs: int, steps: int, title: str) -> None:
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self.title = title

    def on_train_begin(self, logs: Logs = None) -> None:
        self.bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self.bar is None:
            done = self.steps * (epoch + 1) - self.params["steps"]  # the steps that are left of a resumed epoch
            total = self.steps * self.epochs
            self.bar = tqdm(total=total, initial=done, desc=self.title, unit="step", disable=None)
        self.start, self.first = time.monotonic(), 0.0

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if batch == 0:
            self.first = time.monotonic() - self.start  # seconds of a step that may have been traced
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        seconds, steps = time.monotonic() - self.start, self.params["steps"]
        steady = min((seconds - self.first) / max(steps - 1, 1), seconds / steps)
        left = format_time(steady * self.steps * (self.epochs - epoch - 1))
        shown = [(name, value) for name, value in (logs or {}).items() if name in self.shown and not math.isnan(value)]
        figures = "  ".join(f"{name} {float(value):.4g}" for name, value in shown)
        tqdm.write(f"{self.title} epoch {epoch + 1}/{self.epochs}  {format_time(seconds)}, {left} left  {figures}")

    def on_train_end(self, logs: Logs = None) -> None:
        if self.bar is not None:
            self.bar.close()


def best_epoch(history: list[dict[str, str]], monitor: str, chance: float) -> tuple[int, float]:
    """Returns the epoch, from 1, whose network `BestNetwork` keeps, and its figure."""
    value = max(float(row[monitor]) for row in history)
    epochs = [int(row["epoch"]) for row in history if float(row[monitor]) == value]
    return (epochs[-1] if value <= chance else epochs[0]), value


def format_figure(value: float) -> str:
    """Returns a logged number as tables hold it, to the digits that float32 has."""
    return f"{float(value):.7g}"


def finished_rows(path: pathlib.Path, epochs: int) -> list[dict[str, str]]:
    """Returns the rows of a table that belong to the first epochs.

    Raises:
        UsageError: the table is damaged: its cells are no numbers, or it has no epochs.
    """
    rows = read_table(path)
    try:
        if any(cell and not math.isfinite(float(cell)) for row in rows for cell in row.values()):
            raise ValueError("a cell is not finite")
        return [row for row in rows if int(row["epoch"]) <= epochs]
    except (KeyError, ValueError) as error:
        raise damaged(path, error) from None


def format_time(seconds: float) -> str:
    """Returns a duration for people.

    >>> format_time(42.4), format_time(75), format_time(7300)
    ('42 s', '1 min 15 s', '2 h 1 min')
    """
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"
