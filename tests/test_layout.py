"""The rooms of the package lie in one order, and no import runs up."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "racl_tf"
#: What each room may import besides itself and what lies at the top level of the package.
BELOW = {
    "space": (),
    "layers": ("space",),
    "networks": ("space", "layers"),
    "data": (),
    "attacks": (),
    "defences": ("attacks", "networks"),
    "lipschitz": ("space", "layers", "networks", "attacks"),
    "training": ("attacks", "defences"),
    "evaluation": ("attacks", "data", "networks"),
    "export": ("attacks",),
    "search": ("space", "layers", "networks", "data", "attacks", "lipschitz", "training", "evaluation"),
    "reporting": ("space", "evaluation"),
    "runs": (
        "space", "layers", "networks", "data", "attacks", "defences", "lipschitz", "training", "evaluation",
        "export", "search", "reporting",
    ),
    "reproduction": (
        "space", "layers", "networks", "data", "attacks", "defences", "lipschitz", "training", "evaluation", "search",
        "reporting", "runs",
    ),
}  # fmt: skip


def imported(path: pathlib.Path) -> Iterator[str]:
    """Yields the modules of the package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module == "racl_tf":
                yield from (f"racl_tf.{name.name}" for name in node.names)
            elif node.module is not None:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def room_of(module: str) -> str | None:
    """Returns the room of a module of the package; None for others and for what lies at its top level."""
    parts = module.split(".")
    return parts[1] if parts[0] == "racl_tf" and len(parts) > 1 and parts[1] in BELOW else None


def test_the_rooms_are_these() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_no_import_of_a_room_runs_up(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        for module in imported(path):
            target = room_of(module)
            assert target in (None, room, *BELOW[room]), f"{path.relative_to(PACKAGE)} imports {module}"
            assert not module.startswith(("racl_tf.bin", "racl_tf.configs", "bin.", "configs.")), path


def test_the_top_level_lies_below_the_rooms() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.stem != "__init__":
            for module in imported(path):
                assert room_of(module) is None, f"{path.name} imports {module}"
