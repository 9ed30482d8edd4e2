"""The ways to search an architecture: RACL, what it is compared with, and the baseline without any search.

All run in the same supernet, by the same training step; they differ in what alpha and beta are, and in
whether the Lipschitz constant is constrained.

| mode | alpha and beta | constraint |
|---|---|---|
| racl | drawn from log-normal distributions | Eq. 16, with confidence eta |
| no_confidence | positive numbers | Eq. 10 itself, RACL "without confidence learning" (Table 5) |
| unconstrained | drawn from log-normal distributions | none |
| pc_darts | softmax over operations and over inputs | none (Xu et al., 2020) |
| darts | softmax over operations, none over inputs; all channels are mixed | none (Liu et al., 2019) |
| random | nothing is searched: cells drawn uniformly from the space | |
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from racl_tf.errors import unknown
from racl_tf.search.architecture import Architecture
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.point_architecture import PointArchitecture


class SearchMode(NamedTuple):
    """What a search trains."""

    architecture: Callable[[float, str], Architecture] | None
    """Makes alpha and beta of the settings `sigma` and `normalize`; None draws cells at random, without a search."""
    constrained: bool = False
    """Whether the network's Lipschitz constant is constrained."""
    partial: int = 4
    """1 / partial of the channels go through the mixture, if the settings do not say otherwise."""


def _log_normal(sigma: float, normalize: str) -> Architecture:
    return LogNormalArchitecture(sigma=sigma, normalize=normalize)


SEARCH_MODES: Mapping[str, SearchMode] = MappingProxyType(
    {
        "racl": SearchMode(_log_normal, constrained=True),
        "no_confidence": SearchMode(lambda _, normalize: PointArchitecture(normalize=normalize), constrained=True),
        "unconstrained": SearchMode(_log_normal),
        "pc_darts": SearchMode(lambda *_: PointArchitecture(normalize="sum")),
        "darts": SearchMode(lambda *_: PointArchitecture(normalize="sum", edges=False), partial=1),
        "random": SearchMode(None),
    }
)
"""The modes by name."""


def search_mode(name: str) -> SearchMode:
    """Returns a mode of `SEARCH_MODES`.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in SEARCH_MODES:
        raise unknown("search mode", name, SEARCH_MODES)
    return SEARCH_MODES[name]
