"""Genotypes are valid by construction and survive both written forms."""

import copy
import importlib.resources
import json
import os
import pathlib
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.errors import UsageError
from racl_tf.space import GENOTYPES, OPERATIONS, PUBLISHED_OPERATIONS, Cell, Edge, Genotype

SCHEMA = json.loads(importlib.resources.files("racl_tf.space").joinpath("genotype.schema.json").read_text())
USABLE = sorted({*OPERATIONS, *PUBLISHED_OPERATIONS} - {"none"})


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    nodes = [
        draw(st.lists(st.builds(Edge, st.sampled_from(USABLE), st.integers(0, node - 1)), min_size=1, max_size=3))
        for node in range(2, draw(st.integers(3, 8)))
    ]
    everywhere = set(range(2, 2 + len(nodes)))
    unused = everywhere - {edge.source for edges in nodes for edge in edges}
    return Cell(nodes, sorted(unused | draw(st.sets(st.sampled_from(sorted(everywhere))))))


GENOTYPE = st.builds(Genotype, cells(), cells(), st.none() | st.text())


def content(**changes: object) -> dict:
    """Returns the JSON content of a small valid genotype whose normal cell has other parts."""
    cell = {"nodes": [[["skip_connect", 0]], [["sep_conv_3x3", 2], ["skip_connect", 1]]], "concat": [3]}
    return {"normal": copy.deepcopy(cell) | changes, "reduce": cell}


@settings(deadline=None, max_examples=100)
@given(GENOTYPE)
def test_both_written_forms_are_read_back(genotype: Genotype) -> None:
    again = Genotype.from_json(genotype.to_json())
    assert again == genotype
    assert again.name == genotype.name
    assert Genotype.from_text(str(genotype)) == genotype
    assert Genotype.from_text(str(genotype).replace(" ", "\n\t ")) == genotype


@settings(deadline=None, max_examples=50)
@given(GENOTYPE)
def test_json_conforms_to_the_schema(genotype: Genotype) -> None:
    jsonschema.validate(json.loads(genotype.to_json()), SCHEMA)


def test_schema_is_valid_and_knows_exactly_the_operations() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert sorted(SCHEMA["$defs"]["edge"]["prefixItems"][0]["enum"]) == USABLE


def test_file_is_read_back(tmp_path) -> None:
    path = tmp_path / "genotype.json"
    path.write_text("something older")
    GENOTYPES["racl"].save(path)
    assert Genotype.load(path) == GENOTYPES["racl"]
    assert [file.name for file in tmp_path.iterdir()] == ["genotype.json"]


def test_lists_and_pairs_become_values() -> None:
    lists: Any = [[["skip_connect", 0]]]  # as JSON gives them
    cell = Cell(lists, [2])
    assert cell == Cell(((Edge("skip_connect", 0),),), (2,))
    assert hash(cell) == hash(Cell(((Edge("skip_connect", 0),),), (2,)))
    assert cell.nodes[0][0].operation == "skip_connect"


def test_name_is_only_a_label() -> None:
    cell = Cell([[("skip_connect", 0)]], [2])
    other = Cell([[("skip_connect", 1)]], [2])
    assert len({Genotype(cell, cell, "a"), Genotype(cell, cell, "b")}) == 1
    assert Genotype(cell, cell, "a") != Genotype(cell, other, "a")


def test_ranges_of_nodes() -> None:
    nodes = " | ".join(["skip_connect<-0"] * 5)
    genotype = Genotype.from_text(f"normal: {nodes} -> concat 2,3, 4-6 reduce: {nodes} -> concat 2-6")
    assert genotype.normal == genotype.reduce
    chain = "skip_connect<-0 | skip_connect<-1 | skip_connect<-1 | skip_connect<-4 | skip_connect<-1 -> concat 2-3,5-6"
    assert str(Genotype.from_text(f"normal: {chain}\nreduce: {chain}")) == f"normal: {chain}\nreduce: {chain}"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([], "A genotype must be a JSON object with 'normal' and 'reduce' and optionally 'name'"),
        ({"normal": content()["normal"]}, r"Received: the keys \['normal'\]"),
        (content() | {"op": 1}, r"Received: the keys \['normal', 'op', 'reduce'\]"),
        (content() | {"name": 5}, "name must be a string. Received: 5"),
        (content() | {"reduce": "cell"}, "reduce cell must be a JSON object with 'nodes' and 'concat'"),
        (content(nodes=3), "normal cell: Expected `nodes` as a list"),
        (content(nodes=[]), "normal cell: A cell needs at least one intermediate node"),
        (content(nodes=[[]]), "normal cell: node 2: a node needs at least one edge"),
        (content(nodes=[[["skip_connect"]]]), "normal cell: Expected `nodes` as a list"),
        (content(nodes=[[["none", 0]]]), "node 2: 'none' is not allowed in a genotype; leave the edge out"),
        (content(nodes=[[["sep_conv3x3", 0]]]), "node 2: Unknown operation 'sep_conv3x3'. Did you mean 'sep_conv_3x3'"),
        (content(nodes=[[["skip_connect", -1]]]), "node 2: the source .* from 0 to 1. Received: -1 for skip_connect"),
        (content(nodes=[[["skip_connect", "0"]]]), "Received: '0' for skip_connect"),
        (content(nodes=[[["skip_connect", True]]]), "Received: True for skip_connect"),
        (content(concat=[]), r"normal cell: `concat` must list intermediate nodes, from 2 to 3 here.*Received: \[\]"),
        (content(concat=[1, 3]), r"Received: \[1, 3\]"),
        (content(concat=[3, 3]), r"Received: \[3, 3\]"),
        (content(concat=["3"]), r"Received: \['3'\]"),
    ],
)
def test_broken_json_is_refused_as_the_schema_does(broken: object, message: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)
    with pytest.raises(UsageError, match=message):
        Genotype.from_json(json.dumps(broken))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (content(nodes=[[["skip_connect", 2]]], concat=[2]), "node 2: the source .* from 0 to 1. Received: 2"),
        (content(concat=[2]), "node 3: its output is neither used by a later node nor listed"),
        (content(concat=[3, 2]), "in ascending order"),
        (content(concat=[3, 4]), "from 2 to 3 here"),
    ],
)
def test_a_graph_that_is_not_a_cell_is_refused(broken: object, message: str) -> None:
    jsonschema.validate(broken, SCHEMA)
    with pytest.raises(UsageError, match=f"normal cell: .*{message}"):
        Genotype.from_json(json.dumps(broken))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected a genotype as 'normal: ... reduce: ...'"),
        ("normal: skip_connect<-0 reduce: skip_connect<-0 -> concat 2", "normal cell: expected 'edges | edges"),
        (
            "normal: skip_connect<-0 -> concat 2 reduce: skip_connect 0 -> concat 2",
            "reduce cell: .*Received: 'skip_con",
        ),
        (
            "normal: skip_connect<-0 -> concat 2 reduce: skip_connect<-0 -> concat 2..3",
            "reduce cell: expected `concat`",
        ),
        (
            "normal: skip_connect<-0 | -> concat 2 reduce: skip_connect<-0 -> concat 2",
            "normal cell: node 3: .*one edge",
        ),
    ],
)
def test_broken_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("|", r"\|")):
        Genotype.from_text(text)


def test_a_file_that_holds_no_genotype_is_named(tmp_path) -> None:
    path = tmp_path / "broken.json"
    with pytest.raises(UsageError, match=r"Cannot read a genotype from .*broken.json"):
        Genotype.load(path)
    path.write_text("{normal")
    with pytest.raises(UsageError, match=r"broken.json.* must be JSON.*line 1 column 2"):
        Genotype.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        *('{"normal": {"nodes": %s, "concat": [2]}, "reduce": 1}' % ("[" * d + "]" * d) for d in (50, 300, 900, 980)),
        '{"normal": {"nodes": [[["skip_connect", %s]]], "concat": [2]}, "reduce": 1}' % ("9" * 5000),
        '{"normal": {"nodes": [[["skip_connect", %s]]], "concat": [2]}, "reduce": 1}' % ("9" * 4299),
        '{"normal": {"nodes": [[["skip_connect", 0]]], "concat": [1e999]}, "reduce": 1}',
        "9" * 2**21,
    ],
    ids=lambda text: f"{text[:20]} {len(text)}",
)
def test_json_made_to_break_its_reader_is_refused_at_once(text: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "genotype.json").write_text(text)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"genotype\.json"):
        Genotype.load(tmp_path / "genotype.json")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "normal",
    [
        "skip_connect<-0 -> concat 2-99999999999",
        "skip_connect<-0 -> concat 2-999999999",
        f"skip_connect<-0 -> concat {'9' * 5000}",
        f"skip_connect<-{'9' * 5000} -> concat 2",
        "skip_connect<-0 -> concat ٢",
    ],
    ids=lambda text: text[:40],
)
def test_text_made_to_break_its_reader_is_refused_at_once(normal: str) -> None:
    with pytest.raises(UsageError, match="normal cell: expected"):
        Genotype.from_text(f"normal: {normal} reduce: skip_connect<-0 -> concat 2")


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_what_is_no_file_is_not_read(path: str, tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="it is not a file"):
        Genotype.load(tmp_path / path)


def test_a_large_genotype_is_written_and_read_in_no_time() -> None:
    cell = Cell([[("skip_connect", 0)]] * 20_000, range(2, 20_002))
    began = time.monotonic()
    assert Genotype.from_text(str(Genotype(cell, cell))) == Genotype.from_json(Genotype(cell, cell).to_json())
    assert time.monotonic() - began < 5
