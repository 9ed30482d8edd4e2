"""DOT and console text carry the whole genotype."""

import io
import re
from collections import Counter

import pytest
from rich.console import Console

from racl_tf.reporting import render_text, to_dot
from racl_tf.space import GENOTYPES, Cell, Genotype


@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_dot_has_exactly_the_edges(genotype: Genotype) -> None:
    dot = to_dot(genotype)
    for kind, cell in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        drawn = re.findall(rf'{kind}_(\d) -> {kind}_(\d) \[label="(\w+)"\]', dot)
        edges = [(str(source), str(n), name) for n, node in enumerate(cell.nodes, start=2) for name, source in node]
        assert Counter(drawn) == Counter(edges)
        output = 2 + len(cell.nodes)
        dashed = re.findall(rf"{kind}_(\d) -> {kind}_{output} \[style=dashed\]", dot)
        assert [int(node) for node in dashed] == list(cell.concat)
    assert dot.count("{") == dot.count("}")


def test_table_reads_like_the_text_form() -> None:
    short = Cell([[("skip_connect", 0), ("sep_conv_3x3", 1)]], [2])
    genotype = Genotype(GENOTYPES["amoebanet"].normal, short, "found")
    file = io.StringIO()
    console = Console(file=file, width=100, color_system=None)
    console.print(render_text(genotype))
    text = file.getvalue()
    rows = [[part.strip() for part in re.split("[│|┃]", line)[1:-1]] for line in text.splitlines() if "│" in line]
    nodes, normal, reduce = zip(*rows, strict=True)
    assert "found" in text
    assert nodes == ("2", "3", "4", "5", "6", "output")
    assert " | ".join(normal[:-1]) + " -> " + normal[-1] == str(genotype.normal)
    assert [row for row in reduce if row] == ["skip_connect<-0 sep_conv_3x3<-1", "concat 2"]
