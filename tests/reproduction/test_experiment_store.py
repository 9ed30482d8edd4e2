"""The store keeps what it has measured under names of all that it depends on, and does nothing twice."""

import json
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from racl_tf.attacks import fgsm, pgd
from racl_tf.data import load_dataset
from racl_tf.errors import UsageError
from racl_tf.evaluation import Transfer, evaluate, load_classifier, sweep_steps, transfer
from racl_tf.export import export_saved_model
from racl_tf.files import read_arrays, write_arrays, write_json, write_table
from racl_tf.networks.ensemble import Ensemble
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.reproduction import experiment_store as module
from racl_tf.reproduction.experiment_store import ExperimentStore, wall_time
from racl_tf.reproduction.system import System
from racl_tf.settings import DATASETS, READING, SMOKE, paper_settings
from racl_tf.space import GENOTYPES, Genotype

SEARCHED = System("searched")
NAMED = System("named", "racl")


@pytest.fixture
def config() -> ConfigDict:
    config = paper_settings()
    config.update_from_flattened_dict({**DATASETS["digits"], **SMOKE, "data.test_size": 40, "seed": 3})
    return config


@pytest.fixture
def store(config: ConfigDict, tmp_path: pathlib.Path) -> ExperimentStore:
    return ExperimentStore(config, tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Puts a linear network in the place of what is trained, RACL's cell in that of the searched one, and notes it."""
    done = []

    def search(config: ConfigDict, workdir: str) -> Genotype:
        done.append(f"search {config.search.mode}")
        return GENOTYPES["racl"]

    def train(config: ConfigDict, workdir: str) -> pathlib.Path:
        folder = pathlib.Path(workdir)
        cell = folder / "search" / "genotype.json"
        network = config.train.network or Genotype.load(cell).name
        done.append(f"train {network} {config.train.defence}")
        (folder / "train").mkdir(parents=True)
        linear(len(done)).save(folder / "train" / "best.keras")
        write_json(folder / "train" / "finished.json", {})
        return folder / "train" / "best.keras"

    monkeypatch.setattr(module, "run_search", search)
    monkeypatch.setattr(module, "run_training", train)
    return done


def linear(seed: int) -> keras.Model:
    """Returns a linear classifier of the digits, fitted to 150 of them by ridge regression."""
    train = load_dataset("digits", train_size=150, seed=seed).train
    pixels = np.concatenate([train.images().reshape(150, -1), np.ones([150, 1], np.float32)], 1)
    weights = np.linalg.solve(pixels.T @ pixels + 50 * np.eye(65), pixels.T @ (9 * np.eye(10)[train.y]))
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.set_weights([weights[:-1], weights[-1]])
    return model


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def another(value: object) -> object:
    """Returns a value of the same type that is not this one; of settings that are not given, any."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return (*value, *value, 0) if isinstance(value, tuple) else "other"


def matters_to(system: System, name: str) -> bool:
    """Whether the trained network of a system, and what is measured of it, depends on a setting."""
    if name in (*READING, "train.network"):  # how data is read, what the system itself says
        return False
    always = ("seed", "deterministic", "mixed_precision", "data", "attack", "train")
    return name.partition(".")[0] in (*always, *(() if system.network else ("search",)))


@pytest.mark.parametrize("system", [SEARCHED, NAMED], ids=lambda system: system.title)
def test_a_network_s_folder_is_another_exactly_where_a_setting_matters(system: System, store: ExperimentStore) -> None:
    before, search, names = store.network_folder(system), store.search_folder(system), []
    for name, value in leaves(store.config):
        changed = store.config.copy_and_resolve_references()
        changed.unlock()
        section, _, field = name.rpartition(".")
        (changed[section] if section else changed)[field] = (
            7 if value is None and name not in ("data.data_dir", "data.cache_dir") else another(value)
        )
        other = ExperimentStore(changed, store.folder)
        assert (other.network_folder(system) != before) == matters_to(system, name), name
        searching = matters_to(SEARCHED, name) and not name.startswith("train.")
        assert (other.search_folder(system) != search) == searching, name
        names.append(name)
    assert {"search.eta", "train.defence", "attack.eps", "evaluate.attacks", "data.data_dir", "seed"} <= {*names}


def test_attacks_are_kept_apart_by_all_that_they_depend_on(store: ExperimentStore) -> None:
    names = {store._threat("pgd10"), store._threat("pgd20")}
    for change in ({"attack.eps": 0.2}, {"attack.step_size": 0.2}, {"attack.norm": "l2"}, {"data.test_size": 41}):
        config = store.config.copy_and_resolve_references()
        config.update_from_flattened_dict(change)
        names.add(ExperimentStore(config, store.folder)._threat("pgd10"))
    config = store.config.copy_and_resolve_references()
    config.evaluate.batch_size += 1
    assert ExperimentStore(config, store.folder)._threat("pgd10") in names
    assert len(names) == 6


def test_other_data_in_the_same_file_are_other_data(store: ExperimentStore, tmp_path: pathlib.Path) -> None:
    store.config.data.name = str(tmp_path / "mine.npz")
    named = []
    for seed in (0, 0, 1):
        rng = np.random.default_rng(seed)
        np.savez(store.config.data.name, x=rng.random((20, 8, 8, 1), np.float32), y=np.arange(20) % 10)
        new = ExperimentStore(store.config, store.folder)
        named.append((new.network_folder(NAMED), new.search_folder(SEARCHED), new._threat("pgd10")))
    assert named[0] == named[1]
    assert all(one != other for one, other in zip(named[0], named[2], strict=True))


def test_an_auxiliary_head_is_for_networks_that_have_one(store: ExperimentStore) -> None:
    store.config.train.update({"auxiliary": True, "drop_path": 0.2, "drop_path_ramp": True})
    settings = {name: store.settings(System(name, name)).train for name in ("racl", "resnet18", "")}
    assert {name: (train.auxiliary, train.drop_path, train.drop_path_ramp) for name, train in settings.items()} == {
        "racl": (True, 0.2, True),
        "resnet18": (False, 0.0, False),
        "": (True, 0.2, True),
    }


def test_a_system_s_settings_are_its_own(store: ExperimentStore) -> None:
    before = store.config.to_json()
    mine = store.settings(System("mine", "racl", {"train.defence": "none", "search.eta": 0.7, "seed": 5}))
    mine.train.epochs = 99
    assert (mine.train.defence, mine.search.eta, mine.seed, mine.train.network) == ("none", 0.7, 5, "racl")
    assert store.config.to_json() == before
    other = store.settings(SEARCHED)
    assert (other.train.defence, other.search.eta, other.seed, other.train.epochs) == ("pgd", 0.9, 3, 1)
    assert store.network_folder(System("mine", "racl", {"seed": 5})).name.startswith("digits-racl_pgd-seed5-")


def test_the_same_cell_in_two_files_is_one_network_and_another_is_not(
    store: ExperimentStore, tmp_path: pathlib.Path
) -> None:
    def folder(genotype: str, name: str) -> pathlib.Path:
        GENOTYPES[genotype].save(path := tmp_path / name / "mine.json")
        return store.network_folder(System("mine", str(path)))

    assert folder("darts", "one") == folder("darts", "other") != folder("racl", "one")


def test_nothing_is_searched_trained_or_attacked_twice(
    store: ExperimentStore, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = ("fgsm", "pgd10")
    first = store.evaluate(SEARCHED, attacks)
    assert quick == ["search racl", "train racl pgd"], "and the cell that was found is what was trained"
    files = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*/results.json")}
    assert len(files) == len(attacks)
    for path in files:
        results, name = json.loads(path.read_text()), path.parent.name.split("-")[0]
        assert results["results"][name]["correct"] == first[name].count(name)
        assert results["seconds"] > 0
    monkeypatch.delattr(module, "load_classifier")
    again = ExperimentStore(store.config, store.folder).evaluate(SEARCHED, (*attacks, "fgsm"))
    assert len(quick) == 2
    assert {path: path.stat().st_mtime_ns for path in files} == files
    for name in attacks:
        np.testing.assert_array_equal(again[name].correct[name], first[name].correct[name])
        assert again[name].to_dict() == first[name].to_dict()


def test_results_of_a_network_that_has_changed_since_are_not_used(store: ExperimentStore, quick: list[str]) -> None:
    other = System("other", "darts")
    store.evaluate(NAMED, ["fgsm"])
    store.transfer(NAMED, {"other": other}, "fgsm")
    path, counts = store.train(NAMED), store.transfer(NAMED, {"other": other}, "fgsm").num_robust["source"]
    linear(17).save(path)
    with pytest.raises(UsageError, match="begun with another model"):
        store.evaluate(NAMED, ["fgsm"])
    assert store.transfer(NAMED, {"other": other}, "fgsm").num_robust["source"] != counts
    linear(18).save(store.train(other))
    shown = store.transfer(NAMED, {"other": other}, "fgsm").num_robust
    test, model = store.data.test, load_classifier(store.train(other))
    assert shown["clean"]["other"] == (model.logits(test.images()).argmax(1) == test.y).sum()


def test_results_of_earlier_versions_count_where_the_network_is_older(
    store: ExperimentStore, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.evaluate(NAMED, ["fgsm"])
    (path,) = store.folder.rglob("attacks/*/results.json")
    record = json.loads(path.read_text())
    del record["network"]
    write_json(path, record)
    arrays = read_arrays(path.with_name("outcomes.npz"))
    write_arrays(path.with_name("outcomes.npz"), {name: value for name, value in arrays.items() if name != "model"})
    with monkeypatch.context() as patch:
        patch.delattr(module, "load_classifier")
        store.evaluate(NAMED, ["fgsm"])
    later = path.stat().st_mtime + 10
    os.utime(store.train(NAMED), (later, later))
    with pytest.warns(UserWarning, match="made again"):
        store.evaluate(NAMED, ["fgsm"])
    assert "network" in json.loads(path.read_text())


def test_outcomes_of_an_attack_that_has_changed_since_are_not_taken_for_it(
    store: ExperimentStore, quick: list[str]
) -> None:
    store.evaluate(NAMED, ["fgsm"])
    (path,) = store.folder.rglob("attacks/*/results.json")
    record = json.loads(path.read_text())
    record["results"]["fgsm"]["attacks"][0]["eps"] = 0.2
    write_json(path, record)
    arrays = read_arrays(path.with_name("outcomes.npz"))
    settings = str(arrays["settings"]).replace('"eps": 0.1', '"eps": 0.2')
    write_arrays(path.with_name("outcomes.npz"), arrays | {"settings": np.array(settings)})
    with pytest.raises(UsageError, match="begun with other attacks"):
        store.evaluate(NAMED, ["fgsm"])


def test_attacks_are_those_of_the_threat_on_the_test_images(store: ExperimentStore, quick: list[str]) -> None:
    found = store.evaluate(NAMED, ("fgsm", "pgd10"))
    test, model = load_dataset("digits", test_size=40, seed=3).test, load_classifier(store.train(NAMED))
    plans = {"fgsm": fgsm(0.1), "pgd10": pgd(0.1, 0.01, 10)}
    expected = evaluate(model, test, plans, seed=3, progress=False)
    for name in ("fgsm", "pgd10"):
        np.testing.assert_array_equal(found[name].correct[name], expected.correct[name])
    assert expected.count("clean") > expected.count("fgsm")


def test_registry_names_genotype_files_and_models_all_take_part(
    store: ExperimentStore, quick: list[str], tmp_path: pathlib.Path
) -> None:
    GENOTYPES["darts"].save(tmp_path / "mine.json")
    model, exported = linear(8), linear(9)
    model.save(tmp_path / "model.keras")
    export_saved_model(exported, tmp_path / "saved", class_names=list("0123456789"))
    paths = {"named": "pc_darts", "cell": f"{tmp_path}/mine.json", "file": f"{tmp_path}/model.keras"}
    systems = [System(title, path) for title, path in {**paths, "folder": str(tmp_path / "saved")}.items()]
    store.check(systems)
    clean = [store.evaluate(system, ["fgsm"])["fgsm"].clean for system in systems]
    assert quick == ["train pc_darts pgd", "train darts pgd"], "models are attacked as they are"
    test = load_dataset("digits", test_size=40, seed=3).test
    for found, trained in zip(clean[2:], (model, exported), strict=True):
        np.testing.assert_array_equal(found, trained(test.images()).numpy().argmax(1) == test.y)
    assert [store.parameters(system) for system in systems] == [650, 650, 650, None]
    assert store.genotype(systems[1]) == GENOTYPES["darts"]


def test_parameters_do_not_count_auxiliary_heads(store: ExperimentStore, tmp_path: pathlib.Path) -> None:
    sizes: dict[str, Any] = {"channels": 4, "cells": 2, "input_shape": (8, 8, 1)}
    plain, head, other = (GenotypeNetwork("racl", 10, auxiliary=number > 0, **sizes) for number in range(3))
    count = sum(int(np.prod(variable.shape)) for variable in plain.trainable_variables)
    for name, network, members in (("plain", plain, 1), ("head", head, 1), ("both", Ensemble([head, other]), 2)):
        network.save(tmp_path / f"{name}.keras")
        assert store.parameters(System(name, f"{tmp_path}/{name}.keras")) == members * count


def test_a_cell_that_is_searched_on_the_first_data_set_is_trained_on_others(
    config: ConfigDict, store: ExperimentStore, quick: list[str], tmp_path: pathlib.Path
) -> None:
    config = config.copy_and_resolve_references()
    config.data.train_size, config.search.eta = 256, 0.7
    other, moved = ExperimentStore(config, tmp_path, first=store), replace(SEARCHED, searched_on_first=True)
    assert other.search_folder(moved) == store.search_folder(SEARCHED) != other.search_folder(SEARCHED)
    assert len({other.network_folder(moved), other.network_folder(SEARCHED), store.network_folder(SEARCHED)}) == 3
    assert store.network_folder(moved) == store.network_folder(SEARCHED)
    other.train(moved)
    assert quick == ["search racl", "train racl pgd"]
    assert other.run_folders(moved) == [other.network_folder(moved) / "train"], "its search took time elsewhere"
    before = other.network_folder(moved)
    config.search.eta = 0.8
    assert other.network_folder(moved) == before
    store.config.search.eta = 0.8
    assert other.network_folder(moved) != before, "another search may have found another cell"


def test_another_model_in_the_same_file_is_attacked_anew(store: ExperimentStore, tmp_path: pathlib.Path) -> None:
    found = []
    for seed in (1, 2):
        model = linear(seed)
        model.save(tmp_path / "model.keras")
        found.append(store.evaluate(System("mine", f"{tmp_path}/model.keras"), ["fgsm"])["fgsm"])
        test = store.data.test
        np.testing.assert_array_equal(found[-1].predictions, model(test.images()).numpy().argmax(1))
    assert (found[0].predictions != found[1].predictions).any()


def test_transfers_are_kept_by_source_and_target(
    store: ExperimentStore, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = {name: System(name, name) for name in ("racl", "darts", "nasnet")}
    targets = {name: systems[name] for name in ("racl", "darts")}
    found = store.transfer(systems["racl"], targets, "pgd10")
    models = {name: load_classifier(store.train(system)) for name, system in systems.items()}
    expected = transfer(
        {"racl": models["racl"]}, models, store.data.test, pgd(0.1, 0.01, 10), seed=3, progress=False
    )  # fmt: skip
    assert len(quick) == 3
    counts = {name: expected.count("racl", name) for name in systems}
    assert len({*counts.values()}) > 1
    assert {name: found.count("source", name) for name in targets} == {name: counts[name] for name in targets}

    shown: list[list[str]] = []

    def recorded(_: object, models: dict[str, keras.Model], *args: object, **options: object) -> Transfer:
        shown.append(list(models))
        return expected

    monkeypatch.setattr(module, "transfer", recorded)
    again = ExperimentStore(store.config, store.folder).transfer(systems["racl"], {"again": systems["racl"]}, "pgd10")
    assert shown == []
    assert again.count("source", "again") == counts["racl"]
    with pytest.raises(KeyError):  # since `expected` names its targets otherwise
        store.transfer(systems["racl"], {**targets, "new": systems["nasnet"]}, "pgd10")
    assert shown == [[store.network_folder(systems["nasnet"]).name]], "only the new target is shown images"


def test_sweeps_are_those_of_the_settings_and_of_others_kept_apart(store: ExperimentStore, quick: list[str]) -> None:
    store.config.sweep.update({"attacks": ("fgsm",), "epsilons": (0.05, 0.1, 0.2), "steps": (1, 3, 9)})
    sweeps = store.sweep(NAMED)
    assert list(sweeps) == ["fgsm", "steps"]
    assert all(sweep.num_robust[0] > sweep.num_robust[-1] for sweep in sweeps.values())
    assert sweeps["fgsm"].num_robust[1] == store.evaluate(NAMED, ["fgsm"])["fgsm"].count("fgsm")
    model = load_classifier(store.train(NAMED))
    expected = sweep_steps(model, store.data.test, pgd(0.1, 0.025, 9), (1, 3, 9), seed=3, progress=False)
    assert sweeps["steps"].num_robust == expected.num_robust
    store.config.sweep.update({"epsilons": (0.1, 0.2), "steps": (3, 9)})
    fewer = store.sweep(NAMED)
    assert (fewer["fgsm"].num_robust, fewer["steps"].num_robust) == (
        sweeps["fgsm"].num_robust[1:],
        expected.num_robust[1:],
    )
    assert {name: sweep.num_robust for name, sweep in store.sweep(NAMED).items()} == {
        name: sweep.num_robust for name, sweep in fewer.items()
    }


def test_wall_time_is_the_sum_of_what_is_written_each_counted_once(store: ExperimentStore) -> None:
    def history(folder: pathlib.Path, *seconds: float) -> None:
        write_table(folder / "history.csv", [{"epoch": "1", "seconds": str(second)} for second in seconds])

    plain = System("plain", "", {"train.defence": "none"})  # of the same search
    history(store.search_folder(SEARCHED) / "search", 100, 200)
    history(store.network_folder(SEARCHED) / "train", 30)
    history(store.network_folder(plain) / "train", 5)
    attacks = [store.attack_folder(SEARCHED, "fgsm"), store.transfer_folder(SEARCHED, "mim")]
    attacks += store.sweep_folders(SEARCHED).values()
    for seconds, folder in zip((1, 0.5, 0.25, 0.125, 0.0625), attacks, strict=False):
        write_json(folder / "results.json", {"seconds": seconds})
    assert wall_time(store.run_folders(SEARCHED)) == 330
    assert wall_time([*store.run_folders(SEARCHED), *attacks[:2]]) == 331.5
    assert (
        wall_time([*store.run_folders(SEARCHED), *store.run_folders(plain), *store.run_folders(System("same"))]) == 335
    )
    assert wall_time(attacks[1:4]) == 0.875
    assert wall_time([store.attack_folder(SEARCHED, "mim"), *store.run_folders(NAMED)]) == 0
    assert store.run_folders(System("model", "model.keras")) == []


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (System("mine", "reznet18"), r"mine: Unknown network 'reznet18'\. Did you mean 'resnet18'"),
        (System("mine", "racl", {"train.defence": "trade"}), "Did you mean 'trades'"),
        (System("mine", "", {"search.mode": "rakl"}), "Did you mean 'racl'"),
        (System("mine", "missing.json"), r"mine: Cannot read a genotype from 'missing\.json'"),
        (System("mine", "missing.keras"), r"mine: There is no model 'missing\.keras'"),
        (System("mine", "no/model"), "mine: There is no model 'no/model'"),
        (System("mine", "racl", {"train.held_out": 500}), "512 training images, but train.held_out .* take 532"),
        (System("mine", "", {"search.batch_size": 257}), r"two halves .* take 514\. Raise data.train_size"),
    ],
    ids=lambda value: value.network or next(iter(value.changes)) if isinstance(value, System) else "",
)
def test_mistakes_are_found_by_the_check(system: System, message: str, store: ExperimentStore) -> None:
    store.check([SEARCHED, NAMED])
    with pytest.raises(UsageError, match=message):
        store.check([NAMED, system])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack.norm": "l3"}, "Unknown norm 'l3'"),
        ({"sweep.attacks": ("pdg20",)}, "Did you mean 'pgd20'"),
        ({"sweep.steps": (5, 1)}, r"`sweep\.steps` must be"),
        ({"data.name": "digit"}, "Did you mean 'digits'"),
        ({"data.image_size": 3, "train.cells": 3}, "at least 4 pixels high and wide"),
    ],
)
def test_mistakes_in_settings_are_found_by_the_check(
    change: dict[str, object], message: str, store: ExperimentStore
) -> None:
    store.config.update_from_flattened_dict(change)
    with pytest.raises(UsageError, match=message):
        store.check([NAMED])


def test_searches_that_train_nothing_need_no_halves(store: ExperimentStore) -> None:
    store.check([System("random", "", {"search.mode": "random", "search.batch_size": 257})])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda: [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)], "does not take images"),
        (lambda: [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(9)], "model of another dataset"),
    ],
    ids=["images", "classes"],
)
def test_a_model_of_another_data_set_is_found_by_the_check(
    layers: Callable[[], list[keras.Layer]], message: str, store: ExperimentStore, tmp_path: pathlib.Path
) -> None:
    keras.Sequential(layers()).save(tmp_path / "other.keras")
    with pytest.raises(UsageError, match=f"^mine: .*{message}"):
        store.check([System("mine", f"{tmp_path}/other.keras")])


@pytest.mark.parametrize("name", ["../../out", "/etc/x", "a/../../b", "..", "[x]*?", "\0", "x" * 250])
def test_no_name_leads_out_of_the_folder_or_is_too_long(name: str, tmp_path: pathlib.Path) -> None:
    config = paper_settings()
    config.data.name = name
    store = ExperimentStore(config, tmp_path)
    store.__dict__["_data_content"] = ()
    for system in (System(name, ""), System(name, "resnet18", {"train.defence": name})):
        for folder in (store.network_folder(system), store.search_folder(System(name))):
            assert folder.parent.parent == tmp_path
            assert re.fullmatch(r"[a-z0-9_-]{1,200}", folder.name)
