"""What importing the package costs and promises, and the README's example as it stands there."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

import racl_tf
from racl_tf.errors import UsageError

ROOT = pathlib.Path(__file__).parents[1]


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


def test_the_readme_s_python_example_runs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As printed, but for the data set and the sizes."""
    example, served, attacked = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 20
    for printed, small in (
        ('"cifar10", train_size=10000, test_size=1000', '"digits", train_size=256, test_size=64'),
        ("channels=16, cells=5", "channels=4, cells=3"),
        ("epochs=10, steps_per_epoch=78", "epochs=2, steps_per_epoch=1"),
        ("WarmUp(3)", "WarmUp(1)"),
        ("epochs=12, steps_per_epoch=156", "epochs=1, steps_per_epoch=1"),
        ("attacks.standard_suite(8 / 255, 2 / 255)", '{"fgsm": attacks.fgsm(8 / 255)}'),
    ):
        assert printed in example
        example = example.replace(printed, small)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "saved_model/saved_model.pb").exists()
    names: dict[str, object] = {}
    exec(compile(served.replace("[1, 32, 32, 3]", "[1, 8, 8, 1]"), "README.md", "exec"), names)
    assert set(names["served"].structured_outputs) == {"logits", "probabilities", "class"}  # type: ignore[attr-defined]

    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((8, 8, 1)), *layers]).save("model.keras")
    for printed, small in (
        ('load_dataset("cifar10")', 'load_dataset("digits", test_size=10)'),
        ("attacks.autoattack(8 / 255)", "attacks.autoattack(8 / 255)[:1]"),
    ):
        assert printed in attacked
        attacked = attacked.replace(printed, small)
    exec(compile(attacked, "README.md", "exec"), names)
    assert names["adversarial"].shape == (2, 8, 8, 1)  # type: ignore[attr-defined]
    assert (tmp_path / "runs/mine/outcomes.npz").exists()
