"""Trained networks as folders that can be shared: the network, and what it is, is for and was measured to do."""

import hashlib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from racl_tf import file_names
from racl_tf.errors import UsageError, reason_of
from racl_tf.files import as_path, damaged, read_json, whole_folder, write_json
from racl_tf.networks.loading import load_network
from racl_tf.optional import require
from racl_tf.version import __version__

_HUB = "hf://"
_ADDRESS = re.compile(rf"{_HUB}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def save_pretrained(
    network: keras.Model,
    folder: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    threat: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a trained network as a folder that `from_pretrained` reads, and returns its path.

    It holds `network.keras`, the network, and `network.json`, what `pretrained_description` returns. The folder appears
    complete or not at all, and can be uploaded to the Hugging Face Hub as it is.

    Arguments:
        network: a built classifier from images to logits of shape (batch, classes), with an input shape.
        folder: to create.
        class_names: a name for each class, in the order of the logits.
        threat: what the network was trained to withstand, such as `{"norm": "linf", "eps": 8 / 255}`.
        results: what was measured of it, as in a run's results.json.

    Raises:
        UsageError: the folder exists, the model defines no input shape, or there are not as many class names as
            classes.

    >>> import tempfile
    >>> from racl_tf.networks.resnet import ResNet18
    >>> network = ResNet18(2, channels=2, input_shape=(8, 8, 1))
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = save_pretrained(network, f"{parent}/mine", class_names=["cat", "dog"])
    ...     (from_pretrained(folder).num_classes, pretrained_description(folder)["class_names"])
    (2, ['cat', 'dog'])
    """
    path = as_path(folder)
    if path.exists():
        raise UsageError(f"Cannot save to {os.fspath(folder)!r}: it exists. Remove it or choose another folder.")
    description = describe_network(network, class_names=class_names, threat=threat, results=results)
    with whole_folder(path) as unfinished:
        unfinished.mkdir()
        network.save(unfinished / file_names.NETWORK)
        write_json(unfinished / file_names.DESCRIPTION, description)
    return path


def from_pretrained(source: str | os.PathLike[str]) -> keras.Model:
    """Returns the network in a folder that `save_pretrained` wrote, on this machine or on the Hugging Face Hub.

    No code of the folder is run, and of a repository nothing but the two files is downloaded.

    Arguments:
        source: the folder's path, or `hf://user/name` or `hf://user/name@revision`, which needs the extra `hub`.

    Raises:
        UsageError: there is no such folder, it is damaged or holds another network than it says, or `huggingface_hub`
            is missing.
    """
    folder = _fetch(source)
    description = _read_description(folder)
    network = load_network(folder / file_names.NETWORK)
    if description["weights"] != weights_digest(network):
        raise UsageError(
            f"{os.fspath(source)!r} holds other weights than its {file_names.DESCRIPTION} describes. Get it again from "
            "where it came from, or save it again by `save_pretrained`."
        )
    return network


def pretrained_description(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what a folder that `save_pretrained` wrote says of its network, without loading it.

    Keys: `network`, the name of its class, `genotype` and `sizes` where it has some, `input_shape` (height, width,
    channels), `mean` and `std` of pixels in [0, 1], by which images are normalised inside, `classes`, `class_names`,
    `parameters`, `threat`, `results`, `weights` (their SHA-256) and `racl_tf`, the version. What is not known is None.

    Arguments:
        source: as `from_pretrained` takes it.

    Raises:
        UsageError: there is no such folder, or it is damaged.
    """
    return _read_description(_fetch(source))


def is_pretrained(source: str | os.PathLike[str]) -> bool:
    """Returns whether a path or an address is one that `from_pretrained` takes."""
    return os.fspath(source).startswith(_HUB) or (as_path(source) / file_names.NETWORK).is_file()


def describe_network(
    network: keras.Model,
    *,
    class_names: Sequence[str] | None = None,
    threat: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns what `pretrained_description` gives back, of a network and what is known of it.

    Raises:
        UsageError: the model defines no input shape, or there are not as many class names as classes.
    """
    try:
        shape = tuple(network.input_shape[1:])
        classes = network.compute_output_shape((1, *shape))[-1]
    except (AttributeError, TypeError, ValueError, NotImplementedError):
        raise UsageError("The model defines no input shape. Save a model whose first layer has one.") from None
    if class_names is not None and len(class_names) != classes:
        raise UsageError(f"Expected a name for each of the {classes} classes. Received {len(class_names)} names.")
    spec, genotype = getattr(network, "spec", None), getattr(network, "genotype", None)
    sizes = {
        name: value
        for name, value in (network.get_config() if spec else {}).items()
        if type(value) is int and name not in ("seed", "num_classes")
    }
    return {
        "racl_tf": __version__,
        "network": type(network).__name__,
        "genotype": None if genotype is None else genotype.to_json(),
        "sizes": sizes,
        "input_shape": list(shape),
        "mean": list(spec.mean) if spec else None,
        "std": list(spec.std) if spec else None,
        "classes": classes,
        "class_names": None if class_names is None else list(class_names),
        "parameters": int(sum(np.prod(weight.shape, dtype=int) for weight in network.trainable_weights)),
        "threat": None if threat is None else dict(threat),
        "results": None if results is None else dict(results),
        "weights": weights_digest(network),
    }


def weights_digest(network: keras.Model) -> str:
    """Returns the SHA-256 of a network's weights, in hexadecimal: it differs where a bit of them, or a shape, does."""
    digest = hashlib.sha256()
    for weight in network.weights:
        values = np.asarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{values.dtype} {values.shape} ".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / file_names.DESCRIPTION
    if not path.is_file():
        raise UsageError(
            f"{str(folder)!r} holds no {file_names.DESCRIPTION}. Give a folder that `save_pretrained` or racl-export "
            "--format=keras wrote."
        )
    description = read_json(path)
    if not isinstance(description, dict) or not isinstance(description.get("weights"), str):
        raise damaged(path, "it does not describe a network")
    return description


def _fetch(source: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the folder of a path, or the one that an address of the Hub is downloaded to."""
    text = os.fspath(source)
    if not text.startswith(_HUB):
        folder = as_path(source)
        if not folder.is_dir():
            raise UsageError(f"There is no folder {text!r}. Give the path of one, or {_HUB}user/name.")
        return folder
    address = _ADDRESS.fullmatch(text)
    if not address:
        raise UsageError(
            f"{text!r} is no address of the Hugging Face Hub. Write {_HUB}user/name or {_HUB}user/name@revision."
        )
    hub = require("huggingface_hub", "huggingface_hub", f"The download of {text!r}")
    files = [file_names.NETWORK, file_names.DESCRIPTION]
    try:
        return pathlib.Path(hub.snapshot_download(address[1], revision=address[2], allow_patterns=files))
    except Exception as error:  # of the network, the disk, a login, a repository that is not there
        reason = reason_of(error)
        raise UsageError(f"{text!r} cannot be downloaded: {reason} Check the name and the connection.") from None
