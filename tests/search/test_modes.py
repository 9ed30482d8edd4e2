"""The search modes: what each trains, and what it leaves out."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

import racl_tf.runs.search
from racl_tf.data import load_dataset, search_batches
from racl_tf.errors import UsageError
from racl_tf.runs.common import load_data
from racl_tf.runs.search import make_search, run_search
from racl_tf.search.modes import SEARCH_MODES, search_mode
from racl_tf.search.racl_search import RACLSearch
from racl_tf.settings import DATASETS, SMOKE, paper_settings
from racl_tf.space import EDGES, Genotype, random_genotype


@pytest.fixture
def config() -> ConfigDict:
    config = paper_settings()
    small = {"data.train_size": 64, "search.cells": 1, "search.batch_size": 8, "search.partial": 2}
    config.update_from_flattened_dict({**SMOKE, **DATASETS["digits"], **small})
    return config


def search_of(config: ConfigDict, **changes: object) -> RACLSearch:
    config.update_from_flattened_dict({f"search.{name}": value for name, value in changes.items()})
    search = make_search(config, load_data(config), 10)
    search.run_eagerly = True
    return search


@pytest.fixture(scope="module")
def batch() -> tuple:
    data = load_dataset("digits", train_size=32).train
    return next(iter(search_batches(data.take(range(16)), data.take(range(16, 32)), 8, seed=0)))


@pytest.mark.parametrize("mode", [name for name in SEARCH_MODES if name != "random"])
def test_a_step_trains_what_the_mode_trains(config: ConfigDict, batch: tuple, mode: str) -> None:
    search = search_of(config, mode=mode)
    architecture = search.architecture
    before = {variable.path: variable.numpy() for variable in architecture.variables}
    logs = search.train_step(batch)
    moved = {
        variable.path.split("/")[-1]
        for variable in architecture.variables
        if (variable != before[variable.path]).numpy().any()
    }
    spread = {"sigma_logit_alpha", "sigma_logit_beta"} if mode in ("racl", "unconstrained") else set()
    assert moved == {"mu_alpha"} | spread | (set() if mode == "darts" else {"mu_beta"})
    assert ("theta" in logs) == (mode in ("racl", "no_confidence"))
    assert all(np.isfinite(float(value)) for value in logs.values())
    if mode == "no_confidence":
        assert float(logs["sigma_F"]) == 0
        assert float(logs["probability"]) in (0.0, 1.0)


def test_darts_mixes_all_channels_and_the_others_a_quarter(config: ConfigDict) -> None:
    config.search.partial = None
    assert search_of(config, mode="darts", channels=4).supernet.partial == 1
    assert search_of(config, mode="pc_darts", channels=4).supernet.partial == 4
    assert search_of(config, mode="darts", channels=4, partial=2).supernet.partial == 2


def test_the_second_order_is_the_first_where_weights_do_not_move(config: ConfigDict, batch: tuple) -> None:
    """At a learning rate of 0 the step ahead leads nowhere; at a large one it does."""
    gradients = {}
    for second_order, rate in ((False, 0.0), (True, 0.0), (True, 0.5)):
        search = search_of(config, mode="darts", second_order=second_order)
        search.optimizer = keras.optimizers.SGD(rate)
        kept = [weight.numpy() for weight in search.supernet.trainable_variables]
        log_norms = search.norms.measure()
        (gradient,), _ = search._architecture_gradients(batch[1], batch[0], log_norms, [search.architecture.mu_alpha])
        gradients[second_order, rate] = gradient.numpy()
        for weight, value in zip(search.supernet.trainable_variables, kept, strict=True):
            np.testing.assert_array_equal(weight, value)
    np.testing.assert_allclose(gradients[True, 0.0], gradients[False, 0.0], rtol=1e-3, atol=1e-7)
    assert np.abs(gradients[True, 0.5] - gradients[False, 0.0]).max() > 0.1 * np.abs(gradients[False, 0.0]).max()


def test_the_second_order_needs_one_device(config: ConfigDict) -> None:
    cpus = tf.config.list_logical_devices("CPU")
    if len(cpus) < 2:
        pytest.skip("one logical device")
    with (
        tf.distribute.MirroredStrategy([cpu.name for cpu in cpus[:2]]).scope(),
        pytest.raises(UsageError, match="replicas"),
    ):
        search_of(config, mode="darts", second_order=True)


def test_a_second_order_search_is_saved_with_its_settings(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    search = search_of(config, mode="pc_darts", second_order=True)
    search.save(tmp_path / "search.keras")
    again = keras.saving.load_model(tmp_path / "search.keras")
    assert again.second_order
    assert type(again.architecture) is type(search.architecture)
    assert again.architecture.normalization == "sum"


def test_random_cells_are_drawn_not_searched(
    config: ConfigDict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.search.mode = "random"
    monkeypatch.setattr(racl_tf.runs.search, "load_data", lambda _: pytest.fail("random cells need no data"))
    genotype = run_search(config, str(tmp_path / "one"))
    assert run_search(config, str(tmp_path / "two")) == genotype
    config.seed = 1
    assert run_search(config, str(tmp_path / "three")) != genotype
    assert Genotype.load(tmp_path / "one/search/genotype.json") == genotype
    assert (tmp_path / "one/search/genotype.png").exists()
    with pytest.raises(UsageError, match="Nothing is trained"):
        make_search(config, None, 1)  # type: ignore[arg-type]


def test_random_cells_are_uniform_over_the_space() -> None:
    """Each of a node's pairs of inputs, and each of 7 operations, equally often: within 5 standard errors of 1,000."""
    count = 1000
    pairs: dict[tuple[int, ...], int] = {}
    operations: dict[str, int] = {}
    for seed in range(count):
        for node, edges in enumerate(random_genotype(seed).normal.nodes, start=2):
            pair = node, *sorted(source for _, source in edges)
            pairs[pair] = pairs.get(pair, 0) + 1
            for operation, _ in edges:
                operations[operation] = operations.get(operation, 0) + 1
    assert len(pairs) == 1 + 3 + 6 + 10
    for (node, *_), seen in pairs.items():
        share = 2 / (node * (node - 1))
        assert abs(seen - count * share) <= 5 * np.sqrt(count * share * (1 - share))
    assert len(operations) == 7
    total = 8 * count
    for seen in operations.values():
        assert abs(seen - total / 7) <= 5 * np.sqrt(total * 6 / 49)
    assert len(EDGES) == 14


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'pc_darts'"):
        search_mode("pcdarts")


def test_settings_choose_the_update_and_the_reduction_by_node(config: ConfigDict) -> None:
    """Nats per intermediate node, 4 of each cell, take the place of those of the whole network."""
    search = search_of(config, constraint_update="proximal", constraint_step=0.5, node_reduction=0.25, cells=3)
    assert search.constraint is not None
    assert (search.constraint.update, search.constraint.step) == ("proximal", 0.5)
    assert search.constraint.reduction == 0.25 * 4 * 3
