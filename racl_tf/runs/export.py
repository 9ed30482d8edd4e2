"""The export of a run's trained network."""

import logging
import pathlib

import numpy as np
from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.errors import UsageError
from racl_tf.export import export_saved_model, holds_weights, verify_saved_model
from racl_tf.networks.loading import load_network
from racl_tf.runs.common import load_data
from racl_tf.runs.folder import network_path

_LOGGER = logging.getLogger(__name__)
_COMPARED = 64  # images
_AGREES = 1e-2  # the largest difference of logits that rounding may make


def run_export(config: ConfigDict, workdir: str) -> tuple[pathlib.Path, float]:
    """Exports the best checkpoint to `workdir/saved_model` and compares it, reloaded, on test images.

    Returns the path and the largest difference of logits.

    Raises:
        UsageError: there is no finished network, the folder holds the export of another one, or logits differ.
    """
    network, path = load_network(network_path(workdir)), pathlib.Path(workdir).expanduser() / file_names.SAVED_MODEL
    dataset = load_data(config)
    compared = min(len(dataset.test), _COMPARED)
    _LOGGER.info(
        "Export of %s/%s as a SavedModel, which is read again and compared on %d test images of %s, in a while.",
        file_names.TRAIN,
        file_names.BEST_NETWORK,
        compared,
        config.data.name,
    )
    if not path.exists():
        export_saved_model(network, path, class_names=dataset.class_names)
    elif not holds_weights(path, network):
        raise UsageError(
            f"{str(path)!r} holds another network than {file_names.TRAIN}/{file_names.BEST_NETWORK} is now. "
            "Remove it to export this one."
        )
    difference = verify_saved_model(network, path, dataset.test.images(np.arange(compared)))
    if not difference <= _AGREES:
        raise UsageError(
            f"The export in {str(path)!r} does not compute what the network does: logits differ by {difference:.3g}. "
            "Do not use it; remove it and export again."
        )
    return path, difference
