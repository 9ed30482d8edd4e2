"""A genotype: which operations join which nodes in the normal and in the reduction cell."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from racl_tf.errors import UsageError, unknown
from racl_tf.files import write_text
from racl_tf.space.operations import CANDIDATES, INPUTS, PUBLISHED_OPERATIONS

_ALLOWED = CANDIDATES + PUBLISHED_OPERATIONS


class Edge(NamedTuple):
    """An operation and the node whose output it is applied to."""

    operation: str
    source: int


@dataclass(frozen=True, init=False)
class Cell:
    """The graph of a cell: each intermediate node sums its edges, the cell's output concatenates nodes.

    Arguments:
        nodes: for each intermediate node 2, 3, ... its edges, at least one, as `Edge` or (operation, source);
            a source is an earlier node, 0 and 1 being the cell's inputs, and may repeat.
        concat: the intermediate nodes that are concatenated, ascending.

    Raises:
        UsageError: an operation is unknown, a source does not come before its node, a node is
            without edges or leads nowhere, or `concat` is not an ascending list of intermediate nodes.

    >>> Cell([[("sep_conv_3x3", 0), ("skip_connect", 1)]], [2]).nodes[0][1].source
    1
    """

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]

    def __init__(self, nodes: Iterable[Iterable[tuple[str, int]]], concat: Iterable[int]) -> None:
        try:
            edges_of = tuple(tuple(Edge(*edge) for edge in edges) for edges in nodes)
            outputs = tuple(concat)
        except TypeError:
            raise UsageError(
                "Expected `nodes` as a list with a list of [operation, source] pairs for each node, and `concat` as a "
                f"list of nodes. Received: nodes={nodes!r}, concat={concat!r}."
            ) from None
        object.__setattr__(self, "nodes", edges_of)
        object.__setattr__(self, "concat", outputs)
        if not edges_of:
            raise UsageError("A cell needs at least one intermediate node. Received none.")
        for node, edges in enumerate(edges_of, start=INPUTS):
            _check_node(node, edges)
        self._check_output()

    def _check_output(self) -> None:
        last = INPUTS + len(self.nodes) - 1
        valid = all(_is_node(node) and INPUTS <= node <= last for node in self.concat)
        if not self.concat or not valid or list(self.concat) != sorted(set(self.concat)):
            raise UsageError(
                f"`concat` must list intermediate nodes, from {INPUTS} to {last} here, in ascending order and each "
                f"once. Received: {list(self.concat)}."
            )
        used = set(self.concat) | {edge.source for edges in self.nodes for edge in edges}
        for node in range(INPUTS, last + 1):
            if node not in used:
                raise UsageError(f"node {node}: its output is neither used by a later node nor listed in `concat`.")

    def __str__(self) -> str:
        nodes = " | ".join(" ".join(f"{edge.operation}<-{edge.source}" for edge in edges) for edges in self.nodes)
        return f"{nodes} -> concat {_format_range(self.concat)}"


@dataclass(frozen=True)
class Genotype:
    """The two cells a network is stacked from; immutable, hashable and valid by construction.

    The name is a label only: genotypes with equal cells are equal whatever they are called.
    `str` gives the text form that `from_text` reads, `to_json` the one of `genotype.schema.json`.

    Arguments:
        normal: the cell that keeps the resolution.
        reduce: the cell that halves it: its edges from the two inputs have stride 2.
        name: how reports call it.

    >>> cell = Cell([[("sep_conv_3x3", 0), ("skip_connect", 1)], [("avg_pool_3x3", 2)]], [2, 3])
    >>> print(Genotype(cell, cell))
    normal: sep_conv_3x3<-0 skip_connect<-1 | avg_pool_3x3<-2 -> concat 2-3
    reduce: sep_conv_3x3<-0 skip_connect<-1 | avg_pool_3x3<-2 -> concat 2-3
    """

    normal: Cell
    reduce: Cell
    name: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"normal: {self.normal}\nreduce: {self.reduce}"

    @classmethod
    def from_text(cls, text: str, *, name: str | None = None) -> Self:
        """Returns the genotype that a text describes; white space, line breaks included, separates and is free.

        A node's edges are `operation<-source`, nodes are separated by `|`, and `-> concat` ends the cell with
        nodes and ranges of nodes: `2-5`, `3,4,6`.

        Raises:
            UsageError: the text does not have this form, or a cell is not valid.
        """
        halves = re.fullmatch(r"\s*normal:(.*)\breduce:(.*)", text, re.DOTALL)
        if not halves:
            raise UsageError(f"Expected a genotype as 'normal: ... reduce: ...'. Received: {text!r}.")
        return cls(_parse_cell("normal", halves[1]), _parse_cell("reduce", halves[2]), name)

    def to_json(self) -> str:
        """Returns the genotype as JSON that conforms to `genotype.schema.json`, one node a line."""
        name = [] if self.name is None else [f'"name": {json.dumps(self.name)}']
        cells = [f'"normal": {_format_json(self.normal)}', f'"reduce": {_format_json(self.reduce)}']
        return "{\n  " + ",\n  ".join(name + cells) + "\n}"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns the genotype that JSON describes.

        Raises:
            UsageError: the text is not JSON, does not conform to `genotype.schema.json`, or a cell is not valid.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"A genotype must be JSON. Received text that is not: {error}.") from None
        _check_keys("A genotype", content, required=("normal", "reduce"), optional=("name",))
        for kind in ("normal", "reduce"):
            _check_keys(f"{kind} cell", content[kind], required=("nodes", "concat"))
        name = content.get("name")
        if not isinstance(name, str | None):
            raise UsageError(f"A genotype's name must be a string. Received: {name!r}.")
        return cls(_cell("normal", **content["normal"]), _cell("reduce", **content["reduce"]), name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the genotype as JSON, atomically, replacing a file that is there."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Returns the genotype that `save` wrote.

        Raises:
            UsageError: the file cannot be read, or what it holds is not a valid genotype.
        """
        try:
            return cls.from_json(Path(path).expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Cannot read a genotype from {os.fspath(path)!r}: {error}.") from None
        except UsageError as error:
            raise UsageError(f"In {os.fspath(path)!r}: {error}") from None


def _is_node(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_node(node: int, edges: tuple[Edge, ...]) -> None:
    if not edges:
        raise UsageError(f"node {node}: a node needs at least one edge. Received none.")
    for operation, source in edges:
        if operation == "none":
            raise UsageError(f"node {node}: 'none' is not allowed in a genotype; leave the edge out.")
        if operation not in _ALLOWED:
            raise UsageError(f"node {node}: {unknown('operation', operation, _ALLOWED)}")
        if not _is_node(source) or not 0 <= source < node:
            raise UsageError(
                f"node {node}: the source of an edge must be an earlier node, from 0 to {node - 1}. "
                f"Received: {source!r} for {operation}."
            )


def _check_keys(what: str, content: object, *, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    if not isinstance(content, dict) or not set(required) <= content.keys() <= {*required, *optional}:
        wanted = " and ".join(map(repr, required)) + "".join(f" and optionally {key!r}" for key in optional)
        received = f"the keys {sorted(content)}" if isinstance(content, dict) else repr(content)
        raise UsageError(f"{what} must be a JSON object with {wanted}. Received: {received}.")


def _cell(kind: str, nodes: Any, concat: Any) -> Cell:
    try:
        return Cell(nodes, concat)
    except UsageError as error:
        raise UsageError(f"{kind} cell: {error}") from None


def _parse_cell(kind: str, text: str) -> Cell:
    cell = re.fullmatch(r"(.*)->\s*concat\s+(.*)", text.strip(), re.DOTALL)
    if not cell:
        raise UsageError(f"{kind} cell: expected 'edges | edges | ... -> concat nodes'. Received: {text.strip()!r}.")
    nodes = [[_parse_edge(kind, word) for word in node.split()] for node in cell[1].split("|")]
    return _cell(kind, nodes, _parse_range(kind, cell[2]))


def _parse_edge(kind: str, word: str) -> Edge:
    edge = re.fullmatch(r"(\w+)<-(\d+)", word)
    if not edge:
        raise UsageError(f"{kind} cell: expected an edge as 'operation<-source'. Received: {word!r}.")
    return Edge(edge[1], int(edge[2]))


def _parse_range(kind: str, text: str) -> list[int]:
    nodes: list[int] = []
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not bounds:
            raise UsageError(f"{kind} cell: expected `concat` nodes as '2-5' or '3,4,6'. Received: {text!r}.")
        nodes += range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1)
    return nodes


def _format_range(nodes: tuple[int, ...]) -> str:
    starts = [node for node in nodes if node - 1 not in nodes]
    ends = [node for node in nodes if node + 1 not in nodes]
    return ",".join(f"{start}-{end}" if start < end else f"{start}" for start, end in zip(starts, ends, strict=True))


def _format_json(cell: Cell) -> str:
    nodes = ",\n      ".join(json.dumps(edges) for edges in cell.nodes)
    return f'{{\n    "nodes": [\n      {nodes}\n    ],\n    "concat": {json.dumps(cell.concat)}\n  }}'
