"""A genotype in text: a graph for Graphviz, a table for the console."""

from rich.table import Table
from rich.text import Text

from racl_tf.errors import printable
from racl_tf.space import INPUTS, Genotype


def to_dot(genotype: Genotype) -> str:
    """Returns the genotype as a graph in Graphviz' DOT, a cluster for each cell, which `dot -Tsvg` draws."""
    lines = ["digraph genotype {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for kind, cell in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        output = INPUTS + len(cell.nodes)
        labels = ["c_{k-2}", "c_{k-1}", *map(str, range(INPUTS, output)), "c_{k}"]
        lines += [f"  subgraph cluster_{kind} {{", f'    label="{kind}";']
        lines += [f'    {kind}_{node} [label="{label}"];' for node, label in enumerate(labels)]
        for node, edges in enumerate(cell.nodes, start=INPUTS):
            lines += [f'    {kind}_{source} -> {kind}_{node} [label="{operation}"];' for operation, source in edges]
        lines += [f"    {kind}_{node} -> {kind}_{output} [style=dashed];" for node in cell.concat]
        lines += ["  }"]
    return "\n".join([*lines, "}"]) + "\n"


def render_text(genotype: Genotype) -> Table:
    """Returns the genotype as a table for `rich.print`: a row for each node, in the notation of `str(genotype)`."""
    cells = {"normal": genotype.normal, "reduce": genotype.reduce}
    title = None if genotype.name is None else Text(printable(genotype.name))  # a plain string could hold markup
    table = Table("node", *cells, title=title)
    written = [str(cell).replace(" -> ", " | ").split(" | ") for cell in cells.values()]
    nodes = [len(row) - 1 for row in written]
    for node in range(max(nodes)):
        table.add_row(
            str(INPUTS + node), *(row[node] if node < count else "" for row, count in zip(written, nodes, strict=True))
        )
    table.add_section()
    table.add_row("output", *(row[-1] for row in written))
    return table
