"""Adversarially robust neural architecture search in Keras 3 and TensorFlow (RACL, arXiv:2009.00902).

The public names are loaded on first use, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from racl_tf.version import __version__ as __version__

if TYPE_CHECKING:
    from racl_tf import attacks as attacks
    from racl_tf.data import load_dataset as load_dataset
    from racl_tf.errors import UsageError as UsageError
    from racl_tf.evaluation import evaluate as evaluate
    from racl_tf.export import export_saved_model as export_saved_model
    from racl_tf.image_spec import ImageSpec as ImageSpec
    from racl_tf.networks.genotype_network import GenotypeNetwork as GenotypeNetwork
    from racl_tf.networks.pretrained import from_pretrained as from_pretrained
    from racl_tf.networks.pretrained import save_pretrained as save_pretrained
    from racl_tf.networks.registry import make_network as make_network
    from racl_tf.networks.supernet import Supernet as Supernet
    from racl_tf.search.confidence_constraint import ConfidenceConstraint as ConfidenceConstraint
    from racl_tf.search.log_normal_architecture import LogNormalArchitecture as LogNormalArchitecture
    from racl_tf.search.racl_search import RACLSearch as RACLSearch
    from racl_tf.space import Genotype as Genotype
    from racl_tf.space import get_genotype as get_genotype
    from racl_tf.training.adversarial_trainer import AdversarialTrainer as AdversarialTrainer

_HOMES = {
    "AdversarialTrainer": "racl_tf.training.adversarial_trainer",
    "ConfidenceConstraint": "racl_tf.search.confidence_constraint",
    "Genotype": "racl_tf.space",
    "GenotypeNetwork": "racl_tf.networks.genotype_network",
    "ImageSpec": "racl_tf.image_spec",
    "LogNormalArchitecture": "racl_tf.search.log_normal_architecture",
    "RACLSearch": "racl_tf.search.racl_search",
    "Supernet": "racl_tf.networks.supernet",
    "UsageError": "racl_tf.errors",
    "evaluate": "racl_tf.evaluation",
    "export_saved_model": "racl_tf.export",
    "from_pretrained": "racl_tf.networks.pretrained",
    "get_genotype": "racl_tf.space",
    "load_dataset": "racl_tf.data",
    "make_network": "racl_tf.networks.registry",
    "save_pretrained": "racl_tf.networks.pretrained",
}
__all__ = sorted([*_HOMES, "attacks"])


def __getattr__(name: str) -> Any:
    if name == "attacks":
        return importlib.import_module("racl_tf.attacks")
    if name not in _HOMES:
        raise AttributeError(f"module 'racl_tf' has no attribute {name!r}; it has {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
