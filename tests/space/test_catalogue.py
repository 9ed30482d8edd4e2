"""The catalogue, transcribed a second time in the shorthand of the literature, and its names."""

import pytest

from racl_tf.errors import UsageError
from racl_tf.space import GENOTYPES, Cell, get_genotype

SHORT = {
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "sep7": "sep_conv_7x7",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "conv7x1": "conv_7x1_1x7",
}

# name: normal, its concatenated nodes, reduce, its concatenated nodes
TRANSCRIPT = {
    "darts": (
        ("sep3:0 sep3:1 | sep3:0 sep3:1 | sep3:1 skip:0 | skip:0 dil3:2", "2345"),
        ("max:0 max:1 | skip:2 max:1 | max:0 skip:2 | skip:2 max:1", "2345"),
    ),
    "pc_darts": (
        ("sep3:1 skip:0 | sep3:0 dil3:1 | sep5:0 sep3:1 | avg:0 dil3:1", "2345"),
        ("sep5:1 max:0 | sep5:1 sep5:2 | sep3:0 sep3:3 | sep3:1 sep3:2", "2345"),
    ),
    "p_darts": (
        ("skip:0 dil3:1 | skip:0 sep3:1 | sep3:1 sep3:3 | sep3:0 dil5:4", "2345"),
        ("avg:0 sep5:1 | sep3:0 dil5:2 | max:0 dil3:1 | dil3:1 dil5:3", "2345"),
    ),
    "racl": (
        ("sep3:0 sep3:1 | sep5:0 skip:1 | sep3:0 skip:3 | sep3:3 skip:4", "2345"),
        ("sep3:0 sep5:1 | avg:0 dil3:1 | sep3:0 sep5:1 | sep3:2 dil3:3", "2345"),
    ),
    "advrush": (
        ("sep3:1 sep3:0 | sep5:0 sep3:1 | sep3:1 sep3:0 | skip:0 sep3:1", "2345"),
        ("sep3:0 sep3:1 | skip:0 dil3:2 | skip:0 avg:1 | skip:0 skip:2", "2345"),
    ),
    "nasnet": (
        ("sep5:1 sep3:0 | sep5:0 sep3:0 | avg:1 skip:0 | avg:0 avg:0 | sep3:1 skip:1", "23456"),
        ("sep5:1 sep7:0 | max:1 sep7:0 | avg:1 sep5:0 | skip:3 avg:2 | sep3:2 max:1", "456"),
    ),
    "amoebanet": (
        ("avg:0 max:1 | sep3:0 sep5:2 | sep3:0 avg:3 | sep3:1 skip:1 | skip:0 avg:1", "456"),
        ("avg:0 sep3:1 | max:0 sep7:2 | sep7:0 avg:1 | max:0 max:1 | conv7x1:0 sep3:5", "346"),
    ),
}


def read(shorthand: str, concat: str) -> Cell:
    nodes = [[edge.split(":") for edge in node.split()] for node in shorthand.split("|")]
    return Cell([[(SHORT[name], int(source)) for name, source in edges] for edges in nodes], [int(n) for n in concat])


def test_every_entry_agrees_with_the_second_transcript() -> None:
    assert GENOTYPES.keys() == TRANSCRIPT.keys()
    for name, (normal, reduce) in TRANSCRIPT.items():
        assert GENOTYPES[name].normal == read(*normal), name
        assert GENOTYPES[name].reduce == read(*reduce), name


@pytest.mark.parametrize("spelling", ["pc_darts", "PC-DARTS", "pcdarts", "Pc_Darts"])
def test_case_and_separators_are_free(spelling: str) -> None:
    assert get_genotype(spelling) is GENOTYPES["pc_darts"]


def test_every_genotype_is_found_under_the_name_it_carries() -> None:
    for genotype in GENOTYPES.values():
        assert genotype.name is not None
        assert get_genotype(genotype.name) is genotype


def test_a_path_is_read(tmp_path) -> None:
    GENOTYPES["advrush"].save(tmp_path / "best.json")
    assert get_genotype(tmp_path / "best.json") == get_genotype(str(tmp_path / "best.json")) == GENOTYPES["advrush"]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Unknown genotype 'amobanet'. Did you mean 'amoebanet'"):
        get_genotype("amobanet")
    with pytest.raises(UsageError, match=r"Cannot read a genotype from 'racl\.json'"):
        get_genotype("racl.json")
