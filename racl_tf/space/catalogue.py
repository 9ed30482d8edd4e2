"""The genotypes that were published, written as `Genotype.from_text` reads them.

| name | source |
|---|---|
| nasnet | Zoph et al., Learning Transferable Architectures for Scalable Image Recognition, CVPR 2018 (NASNet-A) |
| amoebanet | Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019 (AmoebaNet-A) |
| darts | Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019 (the second version) |
| p_darts | Chen et al., Progressive Differentiable Architecture Search, ICCV 2019 (CIFAR-10) |
| pc_darts | Xu et al., PC-DARTS: Partial Channel Connections for Memory-Efficient Search, ICLR 2020 (CIFAR-10) |
| advrush | Mok et al., AdvRush: Searching for Adversarially Robust Neural Architectures, ICCV 2021 |
| racl | Dong et al., Adversarially Robust Neural Architectures, Figure 2 |

NASNet-A and AmoebaNet-A are given as the DARTS authors translated them into these operations.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

from racl_tf.errors import unknown
from racl_tf.space.genotype import Genotype

_PUBLISHED = {
    "nasnet": """
        normal: sep_conv_5x5<-1 sep_conv_3x3<-0
              | sep_conv_5x5<-0 sep_conv_3x3<-0
              | avg_pool_3x3<-1 skip_connect<-0
              | avg_pool_3x3<-0 avg_pool_3x3<-0
              | sep_conv_3x3<-1 skip_connect<-1 -> concat 2-6
        reduce: sep_conv_5x5<-1 sep_conv_7x7<-0
              | max_pool_3x3<-1 sep_conv_7x7<-0
              | avg_pool_3x3<-1 sep_conv_5x5<-0
              | skip_connect<-3 avg_pool_3x3<-2
              | sep_conv_3x3<-2 max_pool_3x3<-1 -> concat 4-6
    """,
    "amoebanet": """
        normal: avg_pool_3x3<-0 max_pool_3x3<-1
              | sep_conv_3x3<-0 sep_conv_5x5<-2
              | sep_conv_3x3<-0 avg_pool_3x3<-3
              | sep_conv_3x3<-1 skip_connect<-1
              | skip_connect<-0 avg_pool_3x3<-1 -> concat 4-6
        reduce: avg_pool_3x3<-0 sep_conv_3x3<-1
              | max_pool_3x3<-0 sep_conv_7x7<-2
              | sep_conv_7x7<-0 avg_pool_3x3<-1
              | max_pool_3x3<-0 max_pool_3x3<-1
              | conv_7x1_1x7<-0 sep_conv_3x3<-5 -> concat 3,4,6
    """,
    "darts": """
        normal: sep_conv_3x3<-0 sep_conv_3x3<-1
              | sep_conv_3x3<-0 sep_conv_3x3<-1
              | sep_conv_3x3<-1 skip_connect<-0
              | skip_connect<-0 dil_conv_3x3<-2 -> concat 2-5
        reduce: max_pool_3x3<-0 max_pool_3x3<-1
              | skip_connect<-2 max_pool_3x3<-1
              | max_pool_3x3<-0 skip_connect<-2
              | skip_connect<-2 max_pool_3x3<-1 -> concat 2-5
    """,
    "p_darts": """
        normal: skip_connect<-0 dil_conv_3x3<-1
              | skip_connect<-0 sep_conv_3x3<-1
              | sep_conv_3x3<-1 sep_conv_3x3<-3
              | sep_conv_3x3<-0 dil_conv_5x5<-4 -> concat 2-5
        reduce: avg_pool_3x3<-0 sep_conv_5x5<-1
              | sep_conv_3x3<-0 dil_conv_5x5<-2
              | max_pool_3x3<-0 dil_conv_3x3<-1
              | dil_conv_3x3<-1 dil_conv_5x5<-3 -> concat 2-5
    """,
    "pc_darts": """
        normal: sep_conv_3x3<-1 skip_connect<-0
              | sep_conv_3x3<-0 dil_conv_3x3<-1
              | sep_conv_5x5<-0 sep_conv_3x3<-1
              | avg_pool_3x3<-0 dil_conv_3x3<-1 -> concat 2-5
        reduce: sep_conv_5x5<-1 max_pool_3x3<-0
              | sep_conv_5x5<-1 sep_conv_5x5<-2
              | sep_conv_3x3<-0 sep_conv_3x3<-3
              | sep_conv_3x3<-1 sep_conv_3x3<-2 -> concat 2-5
    """,
    "advrush": """
        normal: sep_conv_3x3<-1 sep_conv_3x3<-0
              | sep_conv_5x5<-0 sep_conv_3x3<-1
              | sep_conv_3x3<-1 sep_conv_3x3<-0
              | skip_connect<-0 sep_conv_3x3<-1 -> concat 2-5
        reduce: sep_conv_3x3<-0 sep_conv_3x3<-1
              | skip_connect<-0 dil_conv_3x3<-2
              | skip_connect<-0 avg_pool_3x3<-1
              | skip_connect<-0 skip_connect<-2 -> concat 2-5
    """,
    "racl": """
        normal: sep_conv_3x3<-0 sep_conv_3x3<-1
              | sep_conv_5x5<-0 skip_connect<-1
              | sep_conv_3x3<-0 skip_connect<-3
              | sep_conv_3x3<-3 skip_connect<-4 -> concat 2-5
        reduce: sep_conv_3x3<-0 sep_conv_5x5<-1
              | avg_pool_3x3<-0 dil_conv_3x3<-1
              | sep_conv_3x3<-0 sep_conv_5x5<-1
              | sep_conv_3x3<-2 dil_conv_3x3<-3 -> concat 2-5
    """,
}

GENOTYPES: Mapping[str, Genotype] = MappingProxyType(
    {name: Genotype.from_text(text, name=name) for name, text in _PUBLISHED.items()}
)
"""The published genotypes by name."""


def get_genotype(name_or_path: str | os.PathLike[str]) -> Genotype:
    """Returns a published genotype by name, or the one saved at a path.

    Arguments:
        name_or_path: a name in `GENOTYPES`, in any case and with `_`, `-` or nothing between its words,
            or the path of a `.json` file.

    Raises:
        UsageError: the name is unknown, or the file holds no valid genotype.

    >>> get_genotype("PC-DARTS") is get_genotype("pcdarts") is GENOTYPES["pc_darts"]
    True
    """
    text = os.fspath(name_or_path)
    if text.lower().endswith(".json"):
        return Genotype.load(text)
    for name, genotype in GENOTYPES.items():
        if _squeeze(name) == _squeeze(text):
            return genotype
    raise unknown("genotype", text, GENOTYPES)


def _squeeze(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
