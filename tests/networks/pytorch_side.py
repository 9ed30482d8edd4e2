"""The PyTorch side of `test_pytorch_parity.py`: a program that computes what the public code of PC-DARTS computes.

    python pytorch_side.py '{"checkout": ..., "genotype": ..., "channels": ..., "cells": ..., "batch": ...}' out.npz

`genotype` is a name in the checkout's genotypes.py, the fields of its `Genotype`, or null for the search network.

Weights and images are float32 numbers. The truth is what the code computes from them in float64; what it computes in
float32, under the same names after `float32_`, says how much rounding alone changes.
"""

import json
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

if __name__ == "__main__":
    import torch

ARCHITECTURE = ("alphas_normal", "alphas_reduce", "betas_normal", "betas_reduce")
Arrays = dict[str, np.ndarray]


def prepare_imports(checkout: str) -> None:
    """Makes the checkout importable without torchvision, which it imports and does not need here, and without a GPU."""
    sys.path.insert(0, checkout)
    for name in ("torchvision", "torchvision.transforms"):
        sys.modules[name] = types.ModuleType(name)
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor


def make_network(case: dict[str, Any]) -> tuple[Any, Arrays]:
    """Returns the network, and its genotype where it has one."""
    if case["genotype"] is None:
        import model_search

        network = model_search.Network(case["channels"], 10, case["cells"], torch.nn.CrossEntropyLoss())
        for parameter in network.arch_parameters():
            parameter.data.normal_()
        return network, {}
    import genotypes
    import model

    genotype = case["genotype"]
    genotype = getattr(genotypes, genotype) if isinstance(genotype, str) else genotypes.Genotype(**genotype)
    network = model.NetworkCIFAR(case["channels"], 10, case["cells"], True, genotype)
    network.drop_path_prob = 0.0
    fields = {field: value if "concat" not in field else list(value) for field, value in genotype._asdict().items()}
    return network, {"genotype": np.array(json.dumps(fields))}


def architecture(network: Any) -> Iterator[tuple[str, Any]]:
    """Yields alphas and betas, which this code keeps outside of the network's parameters."""
    return ((name, getattr(network, name)) for name in ARCHITECTURE if hasattr(network, name))


def convert(network: Any, dtype: Any) -> None:
    network.to(dtype)
    for _, parameter in architecture(network):
        parameter.data, parameter.grad = parameter.data.to(dtype), None


def images(case: dict[str, Any]) -> Any:
    return torch.rand(case["batch"], 3, 32, 32, dtype=torch.float32).double()


def settle(network: Any, case: dict[str, Any]) -> None:
    """Gives every normalisation a scale, an offset and statistics that matter, and rounds all to float32.

    Statistics come from training passes, not from a generator: edges that leave one node pool the same input, so that
    in every trained network their statistics are equal.
    """
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1 and "classifier" not in name:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    with torch.no_grad():
        for _ in range(5):
            network(images(case))
    convert(network, torch.float32)
    convert(network, torch.float64)


def state(network: Any, when: str) -> Arrays:
    """Returns weights and statistics, numbered as the modules define them."""
    tensors = [value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    return {f"{when}_{index:05}": tensor.numpy().copy() for index, tensor in enumerate(tensors)}


def compute(network: Any, x: Any, labels: Any) -> Arrays:
    """Returns logits in evaluation and in training, gradients by alphas and betas, and the state after training."""
    network.eval()
    with torch.no_grad():
        output = network(x)
    network.train()
    if hasattr(network, "alphas_normal"):
        results = {"evaluation": output, "training": network(x)}
        torch.nn.CrossEntropyLoss()(results["training"], labels).backward()
        results |= {f"gradient_{name}": parameter.grad for name, parameter in architecture(network)}
    else:
        results = {"evaluation": output[0]}
        with torch.no_grad():
            results["training"], results["auxiliary"] = network(x)
    return {name: value.detach().numpy() for name, value in results.items()} | state(network, "after")


def main(case: dict[str, Any], path: str) -> None:
    prepare_imports(case["checkout"])
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    network, made = make_network(case)
    settle(network, case)
    x, labels = images(case), torch.arange(case["batch"]) % 10
    start = {name: value.clone() for name, value in network.state_dict().items()}
    results: dict[str, Any] = {"images": x.permute(0, 2, 3, 1).numpy(), "labels": labels.numpy()}
    results |= made | state(network, "before")
    results["names"] = np.array(json.dumps(list(network.state_dict())))
    results |= {name: parameter.detach().numpy().copy() for name, parameter in architecture(network)}
    results |= compute(network, x, labels)
    network.load_state_dict(start)
    convert(network, torch.float32)
    results |= {f"float32_{name}": value for name, value in compute(network, x.float(), labels).items()}
    np.savez(path, **results)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
