"""Two logical CPUs for the tests of replicas, and what several tests share."""

import importlib.util
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the programs have it

import pytest
import tensorflow as tf
from ml_collections import ConfigDict

ROOT = pathlib.Path(__file__).parents[1]


def pytest_configure() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def data_dir() -> str:
    """The TFDS folder with prepared CIFAR-10 and MNIST, named by RACL_TF_DATA_DIR."""
    folder = os.environ.get("RACL_TF_DATA_DIR")
    if not folder:
        pytest.skip("RACL_TF_DATA_DIR does not name a TFDS folder")
    return folder


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


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """Two CPUs, reduced without collectives, whose keys a second strategy in the same process would use again."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
