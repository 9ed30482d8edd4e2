"""The page on adding things, as it stands there."""

import pathlib
import re
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf import evaluate
from racl_tf.attacks import registry as attacks
from racl_tf.defences import registry as defences
from racl_tf.layers import genotype_cell, operations
from racl_tf.lipschitz import lipschitz_bounds, log_surrogate
from racl_tf.networks import GenotypeNetwork
from racl_tf.networks import registry as networks
from racl_tf.reporting import draw_genotype
from racl_tf.reproduction import paper_tables
from racl_tf.reproduction.experiment_store import ExperimentStore
from racl_tf.reproduction.system import System
from racl_tf.runs.common import load_data
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.search import load_search, run_search
from racl_tf.runs.train import run_training
from racl_tf.search import modes
from racl_tf.settings import DATASETS, SMOKE, check_settings, paper_settings
from racl_tf.space import Genotype, genotype

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
    assert sorted(found) == ["conv_3x3", "corners", "gaussian_noise", "sharpened", "small_cnn", "table_steps"]
    names = {**page, "SearchMode": modes.SearchMode}
    made = {name: eval(line, names) for name, line in found.items()}
    for module, registry, name in (
        (networks, "NETWORKS", "small_cnn"),
        (attacks, "ATTACKS", "corners"),
        (defences, "DEFENCES", "gaussian_noise"),
        (modes, "SEARCH_MODES", "sharpened"),
        (operations, "OPERATION_LAYERS", "conv_3x3"),
        (paper_tables, "EXHIBITS", "table_steps"),
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
    made: Any = defences.make_defence("gaussian_noise", eps=0.1, step_size=0.1, steps=1, deviation=0.3)
    assert made.deviation == 0.3


@pytest.mark.slow
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


@pytest.mark.usefixtures("registered")
def test_the_attack_shows_corners_until_an_image_falls() -> None:
    """Against a linear model of one pixel: a corner of two is the worst one, and 20 draws find it."""
    (attack,) = attacks.make_attack("corners20", 0.1, 0.01)
    weights = np.array([[1.0, -1.0]], np.float32)
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.layers[-1].set_weights([weights, np.array([-0.5, 0.5], np.float32)])  # the first class above 0.5
    images = np.array([0.55, 0.65], np.float32).reshape(2, 1, 1, 1)
    labels = np.zeros(2, np.int32)
    adversarial = attack(model, images, labels)
    assert np.abs(np.abs(adversarial - images) - 0.1).max() < 1e-6
    evaluation = evaluate(model, (images, labels), {"corners": attack}, progress=False)
    assert evaluation.correct["corners"].tolist() == [False, True]


def test_the_operation_is_trained_drawn_and_bounded(
    registered: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(genotype, "_ALLOWED", (*genotype._ALLOWED, "conv_3x3"))
    monkeypatch.setattr(genotype_cell, "OPERATION_LAYERS", operations.OPERATION_LAYERS)
    cell = "conv_3x3<-0 skip_connect<-1 | conv_3x3<-2 -> concat 2-3"
    cells = Genotype.from_text(f"normal: {cell} reduce: {cell}")
    network = GenotypeNetwork(cells, 10, channels=4, cells=3, input_shape=(8, 8, 1))
    images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    assert network(images).shape == (2, 10)
    bounds = lipschitz_bounds(network, images)
    assert 0 < bounds.lower < bounds.upper < np.inf
    assert np.isfinite(log_surrogate(network))
    draw_genotype(cells, tmp_path / "genotype.png")


def test_the_configuration_reads_the_data_set(
    page: dict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 3), np.uint8)
    np.savez("photos.npz", x=x, y=np.arange(400) % 4)
    config = page["get_config"]("smoke")
    check_settings(config)
    data = load_data(config)
    assert (data.num_classes, len(data.train), len(data.test)) == (4, 256, 32)


def test_the_table_is_of_what_can_be_made(registered: dict, config: ConfigDict, tmp_path: pathlib.Path) -> None:
    table = paper_tables.EXHIBITS["table_steps"](("digits",), (System("mine", "resnet18"),))
    assert isinstance(table, paper_tables.Table)
    assert len(table.cells) == 4 * 3
    store = ExperimentStore(config, tmp_path)
    store.check(
        (system for _, system in paper_tables.systems_of(table)), {cell.measure for cell in table.cells.values()}
    )


def test_every_file_the_page_names_a_place_for_is_where_such_files_are() -> None:
    root = pathlib.Path(__file__).parents[1]
    paths = re.findall(r"^(?:In )?`([\w/]+\.py)`:$", PAGE, re.MULTILINE)
    assert len(paths) == 7
    for path in paths:
        assert (root / path).parent.is_dir()
