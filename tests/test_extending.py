"""The page on adding networks, defences and search modes, as it stands there."""

import pathlib
import re
from types import MappingProxyType

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.defences import registry as defences
from racl_tf.networks import registry as networks
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.search import load_search, run_search
from racl_tf.runs.train import run_training
from racl_tf.search import modes
from racl_tf.settings import DATASETS, SMOKE, paper_settings

PAGE = (pathlib.Path(__file__).parents[1] / "docs/extending.md").read_text()


@pytest.fixture(scope="module")
def page() -> dict:
    """What the page's blocks define."""
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/extending.md", "exec"), names)
    return names


@pytest.fixture
def registered(page: dict, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The page's lines of the registries, added to them."""
    found = dict(re.findall(r'`"(\w+)": ([^`]*),`', PAGE))
    assert sorted(found) == ["gaussian_noise", "sharpened", "small_cnn"]
    names = {**page, "SearchMode": modes.SearchMode}
    made = {name: eval(line, names) for name, line in found.items()}
    for module, registry, name in (
        (networks, "NETWORKS", "small_cnn"),
        (defences, "DEFENCES", "gaussian_noise"),
        (modes, "SEARCH_MODES", "sharpened"),
    ):
        monkeypatch.setattr(module, registry, MappingProxyType({**getattr(module, registry), name: made[name]}))
    return made


@pytest.fixture
def config() -> ConfigDict:
    config = paper_settings()
    small = {"data.train_size": 256, "data.test_size": 32, "evaluate.check_images": 0, "evaluate.attacks": ("fgsm",)}
    config.update_from_flattened_dict({**SMOKE, **DATASETS["digits"], **small})
    return config


@pytest.mark.usefixtures("registered")
def test_the_network_and_the_defence_train_and_are_attacked(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.train.network, config.train.defence, config.train.channels = "small-cnn", "gaussian_noise", 6
    config.train.epochs = 2
    best = run_training(config, str(tmp_path))
    network = keras.saving.load_model(best, compile=False)
    assert type(network).__name__ == "SmallCNN"
    assert network.channels == 6
    evaluation, _ = run_evaluation(config, str(tmp_path))
    assert len(evaluation.labels) == 32


def test_the_noise_has_the_deviation_it_says(registered: dict) -> None:
    seen = []

    class Network(keras.Model):
        def call(self, inputs, training=False):
            seen.append(inputs)
            return keras.ops.zeros((len(inputs), 10))

    images, seeds = np.zeros((50, 8, 8, 1), np.float32), np.arange(100, dtype=np.int32).reshape(50, 2)
    registered["gaussian_noise"](0.3).objective(Network(), images, np.zeros(50, np.int32), seeds)
    assert np.std(seen[0]) == pytest.approx(0.3, rel=0.1)
    assert defences.make_defence("gaussian_noise", eps=0.1, step_size=0.1, steps=1, deviation=0.3).deviation == 0.3


@pytest.mark.usefixtures("registered")
def test_the_search_mode_searches(page: dict, config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.search.mode, config.search.epochs = "sharpened", 2
    run_search(config, str(tmp_path))
    search = load_search(config, str(tmp_path))
    assert isinstance(search.architecture, page["SharpenedArchitecture"])
    logits = search.architecture.mu_alpha.numpy()
    assert np.ptp(logits) > 1e-3
    expected = np.exp(2 * logits) / np.exp(2 * logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(search.architecture.median()[0], expected, rtol=1e-4)


def test_every_file_the_page_names_a_place_for_is_where_such_files_are() -> None:
    root = pathlib.Path(__file__).parents[1]
    for path in re.findall(r"^`(racl_tf/[\w/]+\.py)`:$", PAGE, re.MULTILINE):
        assert (root / path).parent.is_dir()
    for path in re.findall(r"\]\(\.\./([\w/.]+)\)", PAGE):
        assert (root / path).is_file()
