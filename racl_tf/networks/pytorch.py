"""Genotype networks as PyTorch has them: the state dict of `NetworkCIFAR` in the public code of DARTS and PC-DARTS."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from racl_tf.errors import UsageError, reason_of, shortened
from racl_tf.files import as_path
from racl_tf.image_spec import ImageSpec
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.layers.factorized_reduction import FactorizedReduction
from racl_tf.layers.identity import Identity
from racl_tf.layers.operation import Operation
from racl_tf.layers.pool import Pool
from racl_tf.layers.relu_conv_bn import ReLUConvBN
from racl_tf.layers.separable_conv import SeparableConv
from racl_tf.networks.cell_network import STEM_MULTIPLIER
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.optional import require
from racl_tf.space import Genotype

CIFAR_MEAN = (0.49139968, 0.48215827, 0.44653124)
"""What the public code takes off CIFAR-10's pixels in [0, 1] before its networks see them."""

CIFAR_STD = (0.24703233, 0.24348505, 0.26158768)
"""What the public code then divides by."""

_COUNTER = "num_batches_tracked"  # of PyTorch's batch normalisation, which computes nothing with it here
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # under which training scripts save a state dict
_CONVOLUTION = (3, 2, 0, 1)  # (height, width, in, out) to (out, in, height, width)
_DEPTHWISE = (2, 3, 0, 1)  # (height, width, channels, 1) to (channels, 1, height, width)


class _Slot(NamedTuple):
    """A variable, the name of its array in PyTorch, and the order of its axes there."""

    name: str
    variable: keras.Variable
    axes: tuple[int, ...] = (0,)


def to_pytorch(network: GenotypeNetwork) -> dict[str, np.ndarray]:
    """Returns the state dict that PyTorch's `NetworkCIFAR` of the same genotype and size loads, float32.

    PyTorch's network then gives the same logits for images that are normalised already, (images - mean) / std by the
    network's `spec`, as its public code does outside.

    Arguments:
        network: the network of a genotype.

    Raises:
        UsageError: it is another network.
    """
    if not isinstance(network, GenotypeNetwork):
        raise UsageError(f"PyTorch's code has networks of genotypes alone. Received: {type(network).__name__}.")
    state = {}
    for slot in _slots(network):
        state[slot.name] = np.ascontiguousarray(keras.ops.convert_to_numpy(slot.variable).transpose(slot.axes))
        if slot.name.endswith("running_var"):
            state[slot.name.replace("running_var", _COUNTER)] = np.zeros((), np.int64)
    return state


def from_pytorch(
    state: Mapping[str, np.ndarray],
    genotype: Genotype | str,
    *,
    image_size: int | tuple[int, int] = 32,
    mean: float | tuple[float, ...] = CIFAR_MEAN,
    std: float | tuple[float, ...] = CIFAR_STD,
) -> GenotypeNetwork:
    """Returns the network of a genotype with the weights of a state dict of PyTorch's `NetworkCIFAR`.

    Channels, cells, classes and the auxiliary head follow from the state dict.

    Arguments:
        state: arrays by name; a leading `module.`, as of several GPUs, is left out.
        genotype: that the network was made of, or what `get_genotype` takes.
        image_size: of the images in pixels, one number or (height, width).
        mean: of pixels in [0, 1], which was taken off images before the network saw them, one number or one a channel.
        std: which images were then divided by, likewise; 1, with a mean of 0, of a network that took pixels themselves.

    Raises:
        UsageError: the state dict is that of another network or genotype.
    """
    arrays = {name.removeprefix("module."): np.asarray(array) for name, array in state.items()}
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    try:
        stem, classifier = arrays["stem.0.weight"], arrays["classifier.weight"]
        filters, colors = stem.shape[:2]
        cells = {int(found[1]) for name in arrays if (found := re.match(r"cells\.(\d{1,4})\.", name))}
        if not cells or max(cells) + 1 != len(cells) or filters % STEM_MULTIPLIER:
            raise ValueError
        spec = ImageSpec(len(classifier), input_shape=(*size, colors), mean=mean, std=std)
    except UsageError:
        raise
    except (KeyError, ValueError, TypeError):
        raise UsageError(
            f"The checkpoint holds no NetworkCIFAR of the code of DARTS: its arrays are called "
            f"{shortened(', '.join(arrays), 300)}. Give the state dict of such a network."
        ) from None
    network = GenotypeNetwork(
        genotype,
        spec,
        channels=filters // STEM_MULTIPLIER,
        cells=len(cells),
        auxiliary=any(name.startswith("auxiliary_head.") for name in arrays),
    )
    slots = {slot.name: slot for slot in _slots(network)}
    given = {name for name in arrays if not name.endswith(_COUNTER)}
    wrong = sorted(given ^ slots.keys())
    for name in sorted(given & slots.keys()):
        slot = slots[name]
        if arrays[name].shape != tuple(slot.variable.shape[axis] for axis in slot.axes):
            wrong.append(name)
        elif not wrong:
            slot.variable.assign(arrays[name].astype(np.float32).transpose(np.argsort(slot.axes)))
    if wrong:
        raise UsageError(
            f"The checkpoint is not of this genotype: {len(wrong)} arrays are missing, too many or of another shape, "
            f"such as {', '.join(wrong[:3])}. Give the genotype that it was trained with."
        )
    return network


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint of PyTorch by name, without running anything that the file may hold.

    Arguments:
        path: a `.safetensors` file, which needs the package safetensors, or a `.pt`, `.pth` or `.tar` file, which needs
            torch and is read by `torch.load(weights_only=True)`. A state dict may lie under `state_dict` or `model`.

    Raises:
        UsageError: there is no such file, it holds more than arrays or no state dict, or a package is missing.
    """
    file = as_path(path)
    if not file.is_file():
        raise UsageError(f"There is no file {os.fspath(path)!r}. Give a checkpoint: .safetensors, .pt, .pth or .tar.")
    try:
        if file.suffix == ".safetensors":
            return dict(require("safetensors.numpy", "safetensors", "Reading .safetensors").load_file(file))
        torch = require("torch", "torch", f"Reading a {file.suffix} file")
        loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
        while isinstance(loaded, Mapping) and (inner := next((key for key in _WRAPPERS if key in loaded), None)):
            loaded = loaded[inner]
        return {str(name): tensor.detach().float().numpy() for name, tensor in loaded.items()}
    except UsageError:
        raise
    except Exception as error:  # what damaged bytes and other objects raise is of a dozen kinds
        reason = reason_of(error, 300)
        raise UsageError(
            f"{os.fspath(path)!r} is no state dict of arrays alone: {reason} Save model.state_dict() by itself."
        ) from None


def _slots(network: GenotypeNetwork) -> Iterator[_Slot]:
    yield _Slot("stem.0.weight", network.stem.kernel, _CONVOLUTION)
    yield from _norm("stem.1", network.stem.norm)
    for index, cell in enumerate(network.cells):
        for part, layer in enumerate(cell.preprocessing):
            yield from _operation(f"cells.{index}.preprocess{part}", layer)
        for part, layer in enumerate(cell.operations):
            yield from _operation(f"cells.{index}._ops.{part}", layer)
    if network.auxiliary is not None:
        head = network.auxiliary
        yield _Slot("auxiliary_head.features.2.weight", head.project.kernels[0], _CONVOLUTION)
        yield from _norm("auxiliary_head.features.3", head.project.norm)
        yield _Slot("auxiliary_head.features.5.weight", head.kernel, _CONVOLUTION)
        yield from _norm("auxiliary_head.features.6", head.norm)
        yield from _dense("auxiliary_head.classifier", head.head)
    yield from _dense("classifier", network.head)


def _operation(prefix: str, layer: Operation) -> Iterator[_Slot]:
    """Yields an operation's slots; numbers are places in PyTorch's `Sequential`, whose first is a ReLU."""
    match layer:
        case FactorizedReduction():
            for place, kernel in enumerate(layer.kernels, start=1):
                yield _Slot(f"{prefix}.conv_{place}.weight", kernel, _CONVOLUTION)
            yield from _norm(f"{prefix}.bn", layer.norm)
        case ReLUConvBN():
            if len(layer.kernels) == 1:
                prefix = f"{prefix}.op"  # 7x1 after 1x7 has no module around it
            for place, kernel in enumerate(layer.kernels, start=1):
                yield _Slot(f"{prefix}.{place}.weight", kernel, _CONVOLUTION)
            yield from _norm(f"{prefix}.{len(layer.kernels) + 1}", layer.norm)
        case SeparableConv():
            parts = zip(layer.depthwise, layer.pointwise, layer.norms, strict=True)
            for block, (depthwise, pointwise, norm) in enumerate(parts):
                yield _Slot(f"{prefix}.op.{4 * block + 1}.weight", depthwise, _DEPTHWISE)
                yield _Slot(f"{prefix}.op.{4 * block + 2}.weight", pointwise, _CONVOLUTION)
                yield from _norm(f"{prefix}.op.{4 * block + 3}", norm)
        case Pool() | Identity():
            return
        case _:
            raise UsageError(f"PyTorch's code has no {type(layer).__name__}. Export as ONNX.")


def _norm(prefix: str, norm: BatchNorm) -> Iterator[_Slot]:
    yield _Slot(f"{prefix}.weight", norm.gamma)
    yield _Slot(f"{prefix}.bias", norm.beta)
    yield _Slot(f"{prefix}.running_mean", norm.moving_mean)
    yield _Slot(f"{prefix}.running_var", norm.moving_variance)


def _dense(prefix: str, layer: keras.layers.Dense) -> Iterator[_Slot]:
    yield _Slot(f"{prefix}.weight", layer.kernel, (1, 0))
    yield _Slot(f"{prefix}.bias", layer.bias)
