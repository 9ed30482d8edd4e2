"""The picture of a genotype shows all of it."""

import re
from collections import Counter

import numpy as np
import pytest
from matplotlib.image import imread

from racl_tf.reporting import draw_genotype
from racl_tf.space import GENOTYPES, Cell, Genotype

LABELS = {
    "skip_connect": "skip",
    "max_pool_3x3": "max pool 3×3",
    "avg_pool_3x3": "avg pool 3×3",
    "sep_conv_3x3": "sep conv 3×3",
    "sep_conv_5x5": "sep conv 5×5",
    "sep_conv_7x7": "sep conv 7×7",
    "dil_conv_3x3": "dil conv 3×3",
    "conv_7x1_1x7": "conv 7×1 1×7",
}


@pytest.mark.parametrize("name", ["racl", "nasnet", "amoebanet"])
def test_every_edge_and_node_is_labelled(name: str, tmp_path) -> None:
    genotype = GENOTYPES[name]
    draw_genotype(genotype, tmp_path / "cells.svg")
    # matplotlib draws text as outlines and says in a comment what they spell.
    written = Counter(re.findall(r"<!-- (.+?) -->", (tmp_path / "cells.svg").read_text(encoding="utf-8")))
    expected = Counter([f"{name}: normal cell", f"{name}: reduction cell"])
    for cell in (genotype.normal, genotype.reduce):
        expected.update(LABELS[edge.operation] for edges in cell.nodes for edge in edges)
        expected.update(str(2 + node) for node in range(len(cell.nodes)))  # as in the text form
        expected.update(["$c_{k-2}$", "$c_{k-1}$", "$c_{k}$"])
    assert written == expected


def test_png_has_ink_and_a_free_margin(tmp_path) -> None:
    cell = Cell([[("skip_connect", 0)], [("dil_conv_5x5", 0), ("max_pool_3x3", 0), ("max_pool_3x3", 0)]], [2, 3])
    draw_genotype(Genotype(cell, GENOTYPES["p_darts"].reduce, "a_$name"), tmp_path / "cells.png")
    image = imread(tmp_path / "cells.png")[..., :3]
    border = np.concatenate([image[:8].ravel(), image[-8:].ravel(), image[:, :8].ravel(), image[:, -8:].ravel()])
    assert border.min() == 1.0
    assert (image.min(axis=-1) < 1.0).mean() > 0.02
