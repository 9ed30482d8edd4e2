"""The networks by name. A new one takes its file and a line here."""

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from racl_tf.errors import unknown
from racl_tf.image_spec import ImageSpec
from racl_tf.networks.densenet import DenseNet121
from racl_tf.networks.ensemble import Ensemble as Ensemble  # so that importing this module registers it
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.image_network import ImageNetwork
from racl_tf.networks.l2_nonexpansive import L2Nonexpansive
from racl_tf.networks.resnet import ResNet18
from racl_tf.networks.robnet import FREE, LARGE_V1, SMALL, RobNet
from racl_tf.networks.vgg import VGG19
from racl_tf.space import GENOTYPES, Genotype

NETWORKS: Mapping[str, Callable[..., ImageNetwork]] = MappingProxyType(
    {
        "resnet18": ResNet18,
        "densenet121": DenseNet121,
        "vgg19": VGG19,
        "l2nnn": L2Nonexpansive,
        "robnet_small": partial(RobNet, SMALL),
        "robnet_large_v1": partial(RobNet, LARGE_V1),
        "robnet_free": partial(RobNet, FREE),
        **{name: partial(GenotypeNetwork, name) for name in GENOTYPES},
    }
)
"""What makes each network, from the arguments of `make_network`: the hand-made ones and the published genotypes."""


def make_network(
    name: str | os.PathLike[str] | Genotype,
    spec: ImageSpec | int | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> ImageNetwork:
    """Returns the new network of a name, with random weights: a model from images in [0, 1] to logits.

    Arguments:
        name: a name in `NETWORKS`, in any case and with `_`, `-` or nothing between its words, a genotype or the
            path of its `.json` file.
        spec: what the images are, an `ImageSpec` such as `dataset.spec`, or the number of classes alone.
        seed: of the initial weights.
        options: what this network takes besides: `channels` and `cells` of those stacked from cells (and `auxiliary`,
            `drop_path` and `drop_path_ramp` of genotypes), `channels` of resnet18 and vgg19, `growth` of densenet121.
            Also the arguments of `ImageSpec`, instead of one.

    Raises:
        UsageError: the name or an option is unknown, or an argument is out of its range.

    >>> make_network("ResNet-18", 10, channels=2, input_shape=(8, 8, 1)).compute_output_shape((3, 8, 8, 1))
    (3, 10)
    """
    takes = network_options(name)
    images, own = ImageSpec.from_arguments(spec, options)
    for option in own:
        if option not in takes:
            raise unknown(f"option of {name}", option, takes)
    return _find(name)(images, seed=seed, **own)


def network_options(name: str | os.PathLike[str] | Genotype) -> list[str]:
    """Returns the names of the `options` that `make_network` takes for a network.

    Raises:
        UsageError: the network is unknown.

    >>> network_options("densenet121")
    ['growth']
    """
    parameters = inspect.signature(_find(name)).parameters.values()
    taken = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    return [option for option in taken if option != "seed"]


def _find(network: str | os.PathLike[str] | Genotype) -> Callable[..., ImageNetwork]:
    if isinstance(network, Genotype):
        return partial(GenotypeNetwork, network)
    name = os.fspath(network)
    if name.lower().endswith(".json"):
        return partial(GenotypeNetwork, name)
    for known, make in NETWORKS.items():
        if _squeeze(known) == _squeeze(name):
            return make
    raise unknown("network", name, NETWORKS)


def _squeeze(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
