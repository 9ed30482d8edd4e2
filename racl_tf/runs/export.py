"""The exports of a run's trained network."""

import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import Classifier
from racl_tf.errors import UsageError, unknown
from racl_tf.export import (
    export_litert,
    export_onnx,
    export_saved_model,
    holds_weights,
    verify_litert,
    verify_onnx,
    verify_saved_model,
)
from racl_tf.export.classifier import largest_difference
from racl_tf.files import as_tensorflow_path, read_json, whole_folder, write_json, write_text
from racl_tf.networks.loading import load_network
from racl_tf.networks.pretrained import describe_network, from_pretrained, weights_digest
from racl_tf.networks.pytorch import from_pytorch, read_state_dict, to_pytorch
from racl_tf.optional import require
from racl_tf.reporting.model_card import is_unchanged, render_model_card
from racl_tf.runs.common import load_data
from racl_tf.runs.folder import network_path

_LOGGER = logging.getLogger(__name__)
_COMPARED = 64  # images
_AGREES = 1e-2  # the largest difference of logits that rounding may make


class ExportFormat(NamedTuple):
    """A format that networks are exported in.

    Arguments:
        title: as people call it.
        folder: in the run's folder.
        write: writes a network, with names of its classes, to a folder that it makes.
        verify: returns the largest difference of logits between a network and what such a folder holds, for images.
        needs: the modules that it takes besides, each with the package that installs it.
    """

    title: str
    folder: str
    write: Callable[[keras.Model, pathlib.Path, Sequence[str]], object]
    verify: Callable[[keras.Model, pathlib.Path, np.ndarray], float]
    needs: tuple[tuple[str, str], ...] = ()


def _write_keras(network: keras.Model, folder: pathlib.Path, _: Sequence[str]) -> None:
    folder.mkdir()
    network.save(folder / file_names.NETWORK)


def _verify_keras(network: keras.Model, folder: pathlib.Path, images: np.ndarray) -> float:
    return largest_difference(network, images, from_pretrained(folder)(images, training=False))


def _write_torch(network: keras.Model, folder: pathlib.Path, _: Sequence[str]) -> None:
    state = to_pytorch(network)
    folder.mkdir()
    require("safetensors.numpy", "safetensors", "An export to PyTorch").save_file(
        state, folder / file_names.TORCH_MODEL
    )


def _verify_torch(network: keras.Model, folder: pathlib.Path, images: np.ndarray) -> float:
    """Returns the difference from the network that the file is read as again, which PyTorch is not needed for."""
    spec = network.spec
    again = from_pytorch(
        read_state_dict(folder / file_names.TORCH_MODEL),
        network.genotype,
        image_size=spec.input_shape[:2],
        mean=spec.mean,
        std=spec.std,
    )
    return largest_difference(network, images, again(images, training=False))


EXPORT_FORMATS: Mapping[str, ExportFormat] = {
    "saved_model": ExportFormat(
        "a SavedModel",
        file_names.SAVED_MODEL,
        lambda network, folder, names: export_saved_model(network, folder, class_names=names),
        verify_saved_model,
    ),
    "keras": ExportFormat(
        "a Keras network",
        file_names.PRETRAINED,
        _write_keras,
        _verify_keras,
    ),
    "onnx": ExportFormat(
        "ONNX",
        file_names.ONNX,
        lambda network, folder, _: export_onnx(network, folder / file_names.ONNX_MODEL),
        lambda network, folder, images: verify_onnx(network, folder / file_names.ONNX_MODEL, images),
        (("tf2onnx", "tf2onnx"), ("onnxruntime", "onnxruntime")),
    ),
    "litert": ExportFormat(
        "LiteRT",
        file_names.LITERT,
        lambda network, folder, _: export_litert(network, folder / file_names.LITERT_MODEL),
        lambda network, folder, images: verify_litert(network, folder / file_names.LITERT_MODEL, images),
        (("ai_edge_litert.interpreter", "ai-edge-litert"),),
    ),
    "torch": ExportFormat(
        "a state dict of PyTorch",
        file_names.TORCH,
        _write_torch,
        _verify_torch,
        (("safetensors.numpy", "safetensors"),),
    ),
}
"""The formats of `racl-export --format`."""


class Exported(NamedTuple):
    """An export that was read again and compared.

    Arguments:
        path: of its folder.
        difference: the largest between logits of the network and of the export, on test images.
    """

    path: pathlib.Path
    difference: float


def run_export(config: ConfigDict, workdir: str) -> dict[str, Exported]:
    """Exports the best checkpoint in each wanted format and compares it, reloaded, on test images.

    Beside each export are `network.json`, what the network is, and `README.md`, a model card. What was exported before
    is compared again and stays as it is; its card is written anew unless somebody has changed it.

    Returns the exports by format.

    Raises:
        UsageError: a format is unknown or its package missing, there is no finished network, a folder holds the export
            of another one, or logits differ.
    """
    formats = _formats(config.export.formats)
    network, root, dataset = load_network(network_path(workdir)), as_tensorflow_path(workdir), load_data(config)
    compared = min(len(dataset.test), _COMPARED)
    _LOGGER.info(
        "Export of %s/%s as %s, which is read again and compared on %d test images of %s, in a while.",
        file_names.TRAIN,
        file_names.BEST_NETWORK,
        ", ".join(form.title for form in formats.values()),
        compared,
        config.data.name,
    )
    images = dataset.test.images(np.arange(compared))
    training = read_json(root / file_names.TRAIN / file_names.CONFIG)
    results = _results(root, Classifier(network).digest(images[:1]))
    description = describe_network(network, class_names=dataset.class_names, threat=_threat(training), results=results)
    exports = {}
    for name, form in formats.items():
        path = root / form.folder
        if not path.exists():
            _write(form, network, path, description)
        elif not _holds(path, network):
            raise UsageError(
                f"{str(path)!r} holds another network than {file_names.TRAIN}/{file_names.BEST_NETWORK} is now. "
                "Remove it to export this one."
            )
        difference = form.verify(network, path, images)
        if not difference <= _AGREES:
            raise UsageError(
                f"The export in {str(path)!r} does not compute what the network does: logits differ by "
                f"{difference:.3g}. Do not use it; remove it and export again."
            )
        write_json(path / file_names.DESCRIPTION, description)
        _write_card(path / file_names.MODEL_CARD, render_model_card(description, name, training))
        exports[name] = Exported(path, difference)
    return exports


def _formats(names: Sequence[str]) -> dict[str, ExportFormat]:
    """Returns the formats of names, whose packages are installed."""
    if not names:
        raise UsageError(
            f"Received no format to export in. Give --format={','.join(EXPORT_FORMATS)}, or some of these."
        )
    for name in names:
        if name not in EXPORT_FORMATS:
            raise unknown("format", name, EXPORT_FORMATS)
        for module, package in EXPORT_FORMATS[name].needs:
            require(module, package, f"An export as {EXPORT_FORMATS[name].title}")
    return {name: EXPORT_FORMATS[name] for name in names}


def _write(form: ExportFormat, network: keras.Model, path: pathlib.Path, description: Mapping[str, Any]) -> None:
    """Writes an export and its description as a folder that appears complete or not at all."""
    with whole_folder(path) as unfinished:
        form.write(network, unfinished, description["class_names"])
        write_json(unfinished / file_names.DESCRIPTION, description)


def _holds(path: pathlib.Path, network: keras.Model) -> bool:
    """Returns whether an export is of a network, to the last bit of its weights."""
    if path.name == file_names.SAVED_MODEL:
        return holds_weights(path, network)
    kept = read_json(path / file_names.DESCRIPTION) if (path / file_names.DESCRIPTION).is_file() else None
    return isinstance(kept, dict) and kept.get("weights") == weights_digest(network)


def _threat(training: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns what a training's settings say that the network was trained to withstand; None if that is nothing."""
    if training["train"]["defence"] == "none":
        return None
    threat = {name: training["attack"][name] for name in ("norm", "eps", "step_size")}
    return threat | {"defence": training["train"]["defence"], "attack_steps": training["train"]["attack_steps"]}


def _results(root: pathlib.Path, digest: str) -> dict[str, Any] | None:
    """Returns what a run's evaluation measured of the network with a digest; None if that is nothing."""
    path = root / file_names.EVALUATE / file_names.RESULTS
    if not path.is_file():
        return None
    results = read_json(path)
    if not isinstance(results, dict) or results.get("digest") != digest:
        _LOGGER.warning("%s is not of the network that is exported: its figures are left out.", path)
        return None
    return results


def _write_card(path: pathlib.Path, card: str) -> None:
    """Writes a model card, unless one is there that somebody has changed."""
    made = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if made is not None and not is_unchanged(made):
        _LOGGER.info("%s was changed by hand, and stays. Remove it to have it written anew.", path)
    else:
        write_text(path, card)
