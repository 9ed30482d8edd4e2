"""What is compared in tables and studies: a network, how it comes about and how it is trained."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from racl_tf.networks.registry import NETWORKS


@dataclass(frozen=True)
class System:
    """One network of a table: what it is called, how it comes about and how it is trained.

    Arguments:
        title: its name in the table.
        network: a name in the registry, the path of a genotype's `.json` file, or the path of a trained model
            (`.keras`, `.h5` or a SavedModel's folder), which is attacked as it is; empty: a cell is searched.
        changes: the settings by dotted name that differ from the others', such as {"train.defence": "trades"}.
        searched_on_first: whether a searched cell comes from the first data set's images, whichever it is trained on.

    >>> [System("mine", network).trained for network in ("resnet18", "mine.json", "mine.keras", "saved/model")]
    [False, False, True, True]
    """

    title: str
    network: str = ""
    changes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    searched_on_first: bool = False

    @property
    def is_genotype_file(self) -> bool:
        """Whether its cell is read from a genotype's file."""
        return self.network.lower().endswith(".json")

    @property
    def trained(self) -> bool:
        """Whether it is a trained model that is attacked as it is; no name in the registry is, whatever lies here."""
        if not self.network or self.network in NETWORKS or self.is_genotype_file:
            return False
        path = pathlib.Path(self.network)
        return path.suffix.lower() in (".keras", ".h5") or path.is_dir() or "/" in self.network
