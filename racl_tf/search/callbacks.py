"""Keras callbacks of a search: the warm-up, and what is logged of the architecture and the constraint."""

import json
import logging
import math
import pathlib

import keras
import numpy as np

from racl_tf.files import write_table, write_text
from racl_tf.search.racl_search import ON_ARCHITECTURE, ON_CONSTRAINT
from racl_tf.search.statistics import architecture_statistics, choices_kept, constraint_statistics
from racl_tf.space import Genotype
from racl_tf.training.callbacks import Logs, finished_rows, format_figure
from racl_tf.training.checkpoints import Record

_LOGGER = logging.getLogger(__name__)


class WarmUp(keras.callbacks.Callback):
    """Keeps the architecture of a `RACLSearch` fixed for the first epochs, as PC-DARTS does for 15 of 50.

    Before it is trained, `RACLSearch.check_target` is asked.

    What is measured of the architecture from then on is NaN in the logs of these epochs, so that tables that are begun
    by a first epoch, such as those of `keras.callbacks.CSVLogger`, have all columns.

    Arguments:
        epochs: how many.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        searching = epoch >= self.epochs
        if epoch == self.epochs:
            self.model.check_target()
        if searching != self.model.searching:
            self.model.searching = searching
            self.model.make_train_function(force=True)
            phase = "The architecture is trained from now on." if searching else "The architecture is fixed (warm-up)."
            _LOGGER.info("Epoch %d: %s", epoch + 1, phase)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None and not self.model.searching:
            constrained = self.model.constraint is not None
            names = (*ON_ARCHITECTURE, *(ON_CONSTRAINT if constrained else ()))
            logs.update({name: math.nan for name in names if name not in logs})


class ArchitectureLog(Record):
    """Adds what the architecture did to each epoch's logs and appends it, with the genotype, mu and sigma, to a file.

    These are `architecture_statistics`, `constraint_statistics` and how many choices are those of the epoch before
    (`choices_kept`).

    Arguments:
        path: of a file of one JSON object a line, or None; a resumed run continues it.
    """

    def __init__(self, path: pathlib.Path | None = None) -> None:
        super().__init__(path)
        self.genotype: Genotype | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        search, genotype = self.model, self.model.genotype()
        statistics = architecture_statistics(search.architecture) | constraint_statistics(search)
        lines = self.path.read_text().splitlines()[:epoch] if self.path is not None and self.path.exists() else []
        if lines:
            self.genotype = Genotype.from_text(json.loads(lines[-1])["genotype"])
        before = search.architecture.initial_genotype() if self.genotype is None else self.genotype
        statistics["choices_kept"] = choices_kept(before, genotype)
        self.genotype = genotype
        if logs is not None:
            logs.update(statistics)
        if self.path is not None:
            mu_alpha, mu_beta = (np.round(mu.numpy(), 5).tolist() for mu in search.architecture.mu)
            entry = {"epoch": epoch + 1, "genotype": str(genotype), **statistics}
            entry |= {"mu_alpha": mu_alpha, "mu_beta": mu_beta}
            for weights, (_, variance) in zip(("alpha", "beta"), search.architecture.parameters(), strict=True):
                entry[f"sigma_{weights}_entries"] = np.round(np.sqrt(variance), 5).tolist()
            write_text(self.path, "\n".join([*lines, json.dumps(entry)]) + "\n")


class StepFile(Record):
    """Writes what the constraint was at every step: mu_F, sigma_F, c, probability, theta.

    Arguments:
        path: of a CSV file, written at each epoch's end; a resumed run continues where it resumes, at the step that
            the model has.
    """

    names = ("mu_F", "sigma_F", "constraint", "probability", "theta")

    path: pathlib.Path

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.rows = finished_rows(self.path, epoch + 1)[: int(self.model.steps.numpy())]
        self.epoch, self.first = epoch, sum(row["epoch"] == str(epoch + 1) for row in self.rows)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        values = {name: format_figure(logs[name]) if logs and name in logs else "" for name in self.names}
        self.rows.append({"epoch": str(self.epoch + 1), "step": str(self.first + batch + 1), **values})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.flush()

    def flush(self) -> None:
        write_table(self.path, self.rows)
