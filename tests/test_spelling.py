"""Identifiers are spelled in American English, as Keras spells its own; prose and strings are free."""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
#: "defence" is not among them: it is the word of this project.
BRITISH = re.compile(
    r"(?:factor|general|initial|normal|optim|quant|random|regular|serial|standard)is[aei]"
    r"|behaviour|centre|colour|grey|neighbour",
    re.IGNORECASE,
)


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields the line and the name of all that a module defines or passes by name."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
                yield node.lineno, name


def british(code: str) -> list[str]:
    """Returns the lines and names of a module that Keras would spell otherwise."""
    return [f"{line}: {name}" for line, name in identifiers(ast.parse(code)) if BRITISH.search(name)]


@pytest.mark.parametrize("folder", ["racl_tf", "bin", "configs", "benchmarks"])
def test_no_identifier_is_british(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    found = {str(path.relative_to(ROOT)): british(path.read_text()) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}
    assert not [path for path in found if BRITISH.search(path)]


@pytest.mark.parametrize(
    "code",
    [
        "def normalise(x): pass",
        "class BatchNormalisation: pass",
        "_COLOURS = ()",
        "self.initialiser = None",
        "def f(*, neighbours): pass",
        "f(centre=1)",
        "for grey in (): pass",
        "import matplotlib.colors as colours",
        "lambda behaviour: 1",
    ],
)
def test_british_identifiers_are_found(code: str) -> None:
    assert len(british(code)) == 1


def test_prose_strings_and_american_words_are_free() -> None:
    assert british('"""Normalises."""\ncolor, defence, noise = {"colour": 1}, "grey", 2  # the centre') == []
    assert british("def normalize(initializer, precision, organism): return initializer.colour") == []
