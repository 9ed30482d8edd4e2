"""Flags for the settings that one changes most."""

import subprocess
import sys
from collections.abc import Callable

from ml_collections import ConfigDict

Settings = Callable[..., ConfigDict]


def test_flags_change_settings(flag_settings: Settings) -> None:
    config = flag_settings(
        model="a.keras", dataset="digits", data_dir="there", images="50", bounds="0,255", norm="l2", eps="16/255",
        attacks="fgsm, pgd20",
    )  # fmt: skip
    assert (config.evaluate.model, config.data.name, config.data.data_dir) == ("a.keras", "digits", "there")
    assert config.data.test_size == 50
    assert config.evaluate.bounds == (0.0, 255.0)
    assert config.evaluate.attacks == ("fgsm", "pgd20")
    assert (config.attack.norm, config.attack.eps, config.attack.step_size) == ("l2", 16 / 255, 4 / 255)


def test_flags_are_known_before_tensorflow_is_imported() -> None:
    """So that --help and mistakes are told at once, and what TensorFlow says at its start can be hidden."""
    code = "import sys, racl_tf.runs.flags; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
