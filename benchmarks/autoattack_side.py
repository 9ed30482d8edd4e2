"""What is measured of the public AutoAttack: python -m benchmarks.autoattack_side '{"checkout": ..., "folder": ...}'.

Nothing of it is copied: the checkout is imported and runs on a CPU. The network, its weights and the
images come from benchmarks.autoattack in `network.npz`; what is found goes back in `found.npz`. A network of cells is
that of PC-DARTS's code, imported from a checkout too.
"""

import pathlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.pytorch_side import make_network, prepare_imports
from benchmarks.timing import Actions, serve

STAGES = {"APGD-CE": "apgd-ce", "APGD-T": "apgd-t", "FAB-T": "fab-t", "Square": "square"}
Array = np.ndarray


def convolution(x: torch.Tensor, kernel: torch.Tensor, *, bias: torch.Tensor, strides: Any, pads: Any) -> torch.Tensor:
    return F.conv2d(F.pad(x, pads), kernel.permute(3, 2, 0, 1), bias, strides)


def maximum(x: torch.Tensor, *, size: Any, strides: Any, pads: Any) -> torch.Tensor:
    return F.max_pool2d(F.pad(x, pads, value=-torch.inf), size, strides)


def affine(x: torch.Tensor, *, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    shape = [1, -1] + [1] * (x.ndim - 2)
    return x * scale.reshape(shape) + shift.reshape(shape)


def flat(x: torch.Tensor) -> torch.Tensor:
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).flatten(1)


# By the names that benchmarks.autoattack gives to layers; images are NCHW here and flattened as NHWC.
LAYERS: dict[str, Callable[..., torch.Tensor]] = {
    "convolution": convolution,
    "dense": lambda x, kernel, bias: x @ kernel + bias,
    "affine": affine,
    "relu": torch.relu,
    "maximum": maximum,
    "mean": lambda x: x.mean([2, 3]),
    "flat": flat,
}


def network_of(layers: list[dict[str, Any]], arrays: Mapping[str, Array]) -> Callable[[torch.Tensor], torch.Tensor]:
    def function(layer: dict[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
        options = {name: value for name, value in layer.items() if name not in {"kind", "arrays"}}
        weights = {name: torch.from_numpy(arrays[key]) for name, key in layer["arrays"].items()}
        return partial(LAYERS[layer["kind"]], **weights, **options)

    functions = [function(layer) for layer in layers]

    def network(x: torch.Tensor) -> torch.Tensor:
        for function in functions:
            x = function(x)
        return x

    return network


def network_of_cells(case: dict[str, Any], arrays: Mapping[str, Array]) -> Callable[[torch.Tensor], torch.Tensor]:
    prepare_imports(case["checkout"])
    network = make_network(**case["network"])
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    network.eval().requires_grad_(False)
    mean, std = (torch.tensor(case[name]).reshape(1, -1, 1, 1) for name in ("mean", "std"))
    return lambda x: network((x - mean) / std)[0]


def make(case: dict[str, Any]) -> Actions:
    sys.path.insert(0, case["checkout"])
    from autoattack import AutoAttack

    folder = pathlib.Path(case["folder"])
    with np.load(folder / "network.npz") as file:
        arrays = dict(file)
    x, y = (torch.from_numpy(arrays.pop(name)) for name in ("x", "y"))
    x, y = x.permute(0, 3, 1, 2).contiguous(), y.long()
    made_of = case["network"]
    network = network_of(made_of, arrays) if isinstance(made_of, list) else network_of_cells(made_of, arrays)
    with torch.no_grad():
        logits = network(x)
    found: dict[str, Array] = {"logits": logits.numpy()}
    standing = {norm: (logits.argmax(1) == y) for norm in case["eps"]}

    def attack_with(norm: str) -> Any:
        attack = AutoAttack(
            network, norm={"linf": "Linf", "l2": "L2"}[norm], eps=case["eps"][norm], seed=0, verbose=False, device="cpu"
        )
        for part in (attack.apgd, attack.apgd_targeted, attack.fab):
            part.n_iter = min(part.n_iter, case["steps"])
        attack.square.n_queries = min(attack.square.n_queries, case["queries"])
        return attack

    def stage(norm: str, name: str) -> None:
        attack, rows = attack_with(norm), standing[norm].nonzero()[:, 0]
        if len(rows):
            attack.attacks_to_run = [STAGES[name]]
            _, labels = attack.run_standard_evaluation(x[rows], y[rows], bs=case["batch"], return_labels=True)
            standing[norm][rows] = labels == y[rows]
        found[f"{norm} {name}"] = standing[norm].numpy().copy()

    def raise_loss(norm: str) -> None:
        moved = attack_with(norm).apgd.perturb(x, y, best_loss=True)
        found[f"{norm} moved"] = moved.permute(0, 2, 3, 1).numpy()

    actions: dict[str, Callable[[], object]] = {"write": lambda: np.savez(folder / "found.npz", **found)}  # type: ignore[arg-type]
    for norm in case["eps"]:
        actions |= {f"{norm} {name}": partial(stage, norm, name) for name in STAGES}
        actions[f"{norm} loss"] = partial(raise_loss, norm)
    return actions


if __name__ == "__main__":
    serve(make)
