"""Files and folders of runs are named in one place."""

import ast
import pathlib
from collections.abc import Iterator

from racl_tf import file_names

ROOT = pathlib.Path(__file__).parents[1]
HOME = ROOT / "racl_tf/file_names.py"
NAMES = {name: value for name, value in vars(file_names).items() if name.isupper()}
#: Folders whose names are words that settings, streams, data and formats have too.
WORDS = {
    *("SEARCH", "CHOOSE", "TRAIN", "EVALUATE", "SWEEP", "TRANSFER", "SWEEP_STEPS", "NETWORKS", "ATTACKS"),
    *("SAVED_MODEL", "ONNX", "LITERT", "TORCH"),
}


def strings(path: pathlib.Path) -> Iterator[str]:
    """Yields the strings in a file's code, those of f-strings part by part, but no docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_each_name_is_given_once_and_explained() -> None:
    lines = [line for line in HOME.read_text().splitlines() if " = " in line]
    assert len(lines) == len(NAMES) == len(set(NAMES.values()))
    assert all("  # " in line for line in lines)


def test_no_other_file_spells_one() -> None:
    spelled = []
    for path in (path for folder in ("racl_tf", "bin") for path in (ROOT / folder).rglob("*.py") if path != HOME):
        for text in strings(path):
            for name in NAMES.keys() - WORDS:
                value = NAMES[name].partition("{")[0]
                if value in (text if "." in NAMES[name] else text.split("/")):
                    spelled.append(f"{path.relative_to(ROOT)}: {text!r} is file_names.{name}")
    assert spelled == []
