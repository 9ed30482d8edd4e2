"""What is measured of PC-DARTS's public code: python -m benchmarks.pytorch_side '{"subject": ..., "checkout": ...}'.

Nothing of it is copied: the checkout is imported, on a CPU (`.cuda()` does nothing) and without
torchvision, which it imports and does not need here. What its train_search.py and train.py do in a
step stands there in the middle of programs for GPUs; these few lines are repeated, less the counting
of correct predictions.
"""

import sys
import types
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.timing import Actions, serve


def batch_of(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(size, 3, 32, 32), torch.randint(10, (size,))


def search_actions(*, batch: int, channels: int, cells: int) -> Actions:
    from architect import Architect
    from model_search import Network

    criterion = torch.nn.CrossEntropyLoss()
    network = Network(channels, 10, cells, criterion)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=3e-4)
    settings = types.SimpleNamespace(momentum=0.9, weight_decay=3e-4, arch_learning_rate=6e-4, arch_weight_decay=1e-3)
    architect = Architect(network, settings)
    images, labels = batch_of(batch)
    images_search, labels_search = batch_of(batch)

    def weight_step() -> None:
        optimizer.zero_grad()
        criterion(network(images), labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()

    def step() -> None:
        architect.step(images, labels, images_search, labels_search, 0.1, optimizer, unrolled=False)
        weight_step()

    return {"warm-up step": weight_step, "step": step, "end of phase": lambda: None}


def make_network(*, channels: int, cells: int, genotype: dict[str, Any], classes: int = 10) -> torch.nn.Module:
    from genotypes import Genotype
    from model import NetworkCIFAR

    network = NetworkCIFAR(channels, classes, cells, False, Genotype(**genotype))
    network.drop_path_prob = 0.0
    return network


def network_actions(*, batch: int, channels: int, cells: int, genotype: dict[str, Any]) -> Actions:
    network = make_network(channels=channels, cells=cells, genotype=genotype)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=3e-4)
    images, labels = batch_of(batch)

    def forward() -> None:
        network.eval()
        with torch.no_grad():
            network(images)

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        criterion(network(images)[0], labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()

    return {"forward": forward, "step": step}


def prepare_imports(checkout: str) -> None:
    sys.path.insert(0, checkout)
    for name in ("torchvision", "torchvision.transforms"):
        sys.modules[name] = types.ModuleType(name)
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self


def make(case: dict[str, Any]) -> Actions:
    prepare_imports(case.pop("checkout"))
    torch.manual_seed(0)
    subjects: dict[str, Callable[..., Actions]] = {"search": search_actions, "network": network_actions}
    return subjects[case.pop("subject")](**case)


if __name__ == "__main__":
    serve(make)
