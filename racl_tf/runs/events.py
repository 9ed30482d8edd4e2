"""What TensorBoard shows of a search or a training: figures, settings, and a search's cells and weights as pictures."""

import io
import math
import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict
from tensorboard.plugins.hparams import api as hparams

from racl_tf.reporting import draw_genotype, plot_weights
from racl_tf.reporting.run_record import flat
from racl_tf.training.callbacks import Logs

_PICTURES = 10  # of each kind, about, in a whole search


class Events(keras.callbacks.TensorBoard):
    """Writes every epoch's figures, those that are numbers, and the run's settings as TensorBoard's hyperparameters.

    Arguments:
        folder: of the events.
        config: the run's configuration.
        sections: its sections that the step depends on.
    """

    def __init__(self, folder: os.PathLike[str], config: ConfigDict, sections: tuple[str, ...]) -> None:
        super().__init__(folder, write_graph=False)
        chosen = {name: config[name] for name in ("seed", "mixed_precision", "data", *sections)}
        plain = {name: part.to_dict() if isinstance(part, ConfigDict) else part for name, part in chosen.items()}
        self.settings = {name: _plain(value) for name, value in flat(plain)}

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        with self._train_writer.as_default():
            hparams.hparams(self.settings)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_end(epoch, {name: value for name, value in (logs or {}).items() if not math.isnan(value)})


class SearchEvents(Events):
    """Writes also, some times during a search and at its end, what would be selected and mu as pictures.

    Arguments:
        folder: of the events.
        config: the run's configuration.
    """

    def __init__(self, folder: os.PathLike[str], config: ConfigDict) -> None:
        super().__init__(folder, config, ("attack", "search"))
        self.epochs = config.search.epochs
        self.every = math.ceil(self.epochs / _PICTURES)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_end(epoch, logs)
        if (epoch + 1) % self.every and epoch + 1 != self.epochs:
            return
        alpha, beta = (mu.numpy() for mu in self.model.architecture.mu)
        genotype = self.model.genotype()
        with self._train_writer.as_default():
            for name, draw in (
                ("cells", lambda file: draw_genotype(genotype, file)),
                ("mu", lambda file: plot_weights(alpha, beta, file)),
            ):
                tf.summary.image(name, _pixels(draw), step=epoch)


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else "not given" if value is None else str(value)


def _pixels(draw: Callable[[io.BytesIO], None]) -> tf.Tensor:
    """Returns what a function draws to a file, uint8 (1, H, W, 3)."""
    file = io.BytesIO()
    draw(file)
    return tf.io.decode_png(file.getvalue(), channels=3)[None]
