"""Two logical CPUs for the tests of replicas, and what several tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf


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
