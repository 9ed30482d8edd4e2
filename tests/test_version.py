"""The version as setup.py reads it, and what is recorded of libraries."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from racl_tf.version import __version__, library_versions, run_versions

SETUP = Path(__file__).parents[1] / "setup.py"


def test_setup_reads_the_version_without_importing_the_package() -> None:
    shown = subprocess.run(
        [sys.executable, str(SETUP), "--version"], cwd=SETUP.parent, capture_output=True, text=True, check=True
    ).stdout
    assert shown.split()[-1] == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_figures_are_recorded_with_three_versions() -> None:
    expected = {"racl_tf": __version__, "tensorflow": tf.__version__, "keras": keras.__version__}
    assert list(library_versions().items()) == list(expected.items())


def test_runs_are_recorded_with_the_machine_too() -> None:
    versions = run_versions()
    assert list(versions) == [
        "tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy", "racl_tf", "python", "machine",
        "cores", "threads", "oneDNN",
    ]  # fmt: skip
    assert versions["numpy"] == np.__version__
    assert versions["machine"] == platform.platform()
