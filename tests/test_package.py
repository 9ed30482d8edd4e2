"""What importing the package costs and promises."""

import os
import subprocess
import sys

import keras
import pytest

import racl_tf
from racl_tf.errors import UsageError


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=variables)


def test_every_public_name_exists() -> None:
    for name in racl_tf.__all__:
        assert getattr(racl_tf, name) is not None
    with pytest.raises(AttributeError, match="it has AdversarialTrainer"):
        racl_tf.Genotypes  # noqa: B018


def test_importing_it_imports_neither_tensorflow_nor_keras() -> None:
    result = python("import racl_tf, racl_tf.settings, sys; print({'tensorflow', 'keras'} & set(sys.modules))")
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["racl_tf.layers", "racl_tf.attacks"])
def test_another_backend_is_refused(name: str) -> None:
    pretend = f"import keras; keras.config.backend = lambda: 'jax'; import {name}"
    assert "Received: the backend 'jax'. Set the environment variable" in python(pretend).stderr


def test_a_classifier_that_gives_probabilities_is_not_trained() -> None:
    network = keras.Sequential(
        [keras.Input([8, 8, 1]), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    with pytest.raises(UsageError, match="last softmax"):
        racl_tf.AdversarialTrainer(network).compile()
