"""Tables as text, and that nothing else lays them out."""

import ast
import pathlib

import racl_tf
from racl_tf.tables import TextTable

PACKAGE = pathlib.Path(racl_tf.__file__).parent


def test_lines_are_at_most_120_characters_and_captions_go_to_the_left() -> None:
    table = TextTable("title", ("check", "number"), (("long " * 40, "3"),), left=("check",), caption="first\nsecond")
    lines = str(table).splitlines()
    assert {len(line) for line in lines} == {120}
    assert [line.strip() for line in lines if line.startswith(("first", "second"))] == ["first", "second"]
    assert "|      3 |" in str(table)


def test_only_tables_and_reporting_import_rich() -> None:
    importing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(name.split(".")[0] == "rich" for name in names):
                importing.add(str(path.relative_to(PACKAGE)))
    assert importing == {"tables.py", "reporting/text.py"}
