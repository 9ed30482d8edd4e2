"""What the tests of runs share: configurations by name, and programs as a user starts them."""

import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest
from ml_collections import ConfigDict

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="session")
def configuration() -> Callable[..., ConfigDict]:
    """Returns the configuration of a name and, if one is given, a variant."""

    def get(name: str, *variant: str) -> ConfigDict:
        spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.get_config(*variant)

    return get


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program with arguments and returns what it ended with."""

    def start(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "bin" / f"{program}.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    return start
