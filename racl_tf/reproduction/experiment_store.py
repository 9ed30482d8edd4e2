"""Where the networks of tables and studies are searched, trained and attacked, each once."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import keras
from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import Classifier, make_attack
from racl_tf.data import Dataset
from racl_tf.data.datasets import own_files
from racl_tf.defences import make_defence
from racl_tf.errors import UsageError
from racl_tf.evaluation import (
    Evaluation,
    Sweep,
    Transfer,
    evaluate,
    load_classifier,
    sweep_eps,
    sweep_steps,
    transfer,
)
from racl_tf.evaluation.results import AttackOutcomes, Plan
from racl_tf.evaluation.sweep import rising
from racl_tf.files import as_tensorflow_path, read_arrays, read_json, read_table, short_digest, slug, write_json
from racl_tf.folder_lock import FolderLock
from racl_tf.networks.cell_network import check_image_size
from racl_tf.networks.genotype_network import CELLS, AuxiliaryHead
from racl_tf.networks.loading import load_network
from racl_tf.networks.registry import network_options
from racl_tf.reproduction.system import System
from racl_tf.runs.common import load_data
from racl_tf.runs.search import run_search
from racl_tf.runs.train import run_training
from racl_tf.search.modes import search_mode
from racl_tf.settings import ADDED, READING
from racl_tf.space import Genotype
from racl_tf.version import library_versions

_LOGGER = logging.getLogger(__name__)
_LONGEST = 60  # letters of a name in that of a folder, which a digest tells apart
_Result = TypeVar("_Result", Evaluation, Sweep)


class ExperimentStore:
    """Searches, trains and attacks systems under the settings of one scale and data set.

    What is finished is kept below the folder by a name made of all the settings it depends on, so that tables
    share networks, the same start continues an interrupted one, and other settings never meet old results.

    Arguments:
        config: the settings, as `racl_tf.settings.paper_settings` names them.
        folder: of everything that is kept.
        first: the store of the first data set, where the cells of systems that are `searched_on_first` are searched;
            None if this is it.
    """

    def __init__(self, config: ConfigDict, folder: str | pathlib.Path, *, first: ExperimentStore | None = None) -> None:
        self.config = config
        self.folder = as_tensorflow_path(folder)
        self.first = first

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        return load_data(self.config)

    def settings(self, system: System) -> ConfigDict:
        """Returns the settings of a system's run, without the auxiliary head and drop path that some networks lack."""
        config = self.config.copy_and_resolve_references()
        config.update_from_flattened_dict(dict(system.changes))
        config.train.network = "" if system.is_genotype_file else system.network
        if config.train.network and not system.trained:
            taken = network_options(config.train.network)
            config.train.auxiliary &= "auxiliary" in taken
            config.train.drop_path *= "drop_path" in taken
            config.train.drop_path_ramp &= "drop_path" in taken
        return config

    def check(self, systems: Iterable[System], attacks: Iterable[str] = ()) -> None:
        """Checks what a user may get wrong of some systems and attacks, before hours are spent on others.

        Raises:
            UsageError: an attack, network, defence or search mode is unknown, the threat or a sweep is impossible, a
                file cannot be read or is made for another data set, or there are too few images for the scale.
        """
        for name in (*self.config.sweep.attacks, *attacks):
            self._plan(name)
        rising("sweep.epsilons", self.config.sweep.epsilons)
        rising("sweep.steps", self.config.sweep.steps)
        for system in systems:
            try:
                self._check(system)
            except UsageError as error:
                raise UsageError(f"{system.title}: {error}") from None

    def _check(self, system: System) -> None:
        if system.trained:
            load_classifier(system.network, bounds=self.config.evaluate.bounds).check(
                self.data.test.images([0]), self.data.test.y
            )
            _forget()
            return
        config = self.settings(system)
        train, search, threat = config.train, config.search, config.attack
        make_defence(
            train.defence, eps=threat.eps, step_size=threat.step_size, steps=train.attack_steps, norm=threat.norm
        )
        needed = {"train.held_out and one train.batch_size": train.held_out + train.batch_size}
        network = Genotype.load(system.network) if system.is_genotype_file else system.network
        searched = not network and self._searcher(system) is self
        if searched and search_mode(search.mode).architecture is not None:
            needed["two halves of one search.batch_size"] = 2 * search.batch_size
            check_image_size(self.data.input_shape, search.cells)
        if not network or "cells" in network_options(network):
            check_image_size(self.data.input_shape, train.cells or CELLS)
        for what, count in needed.items():
            if len(self.data.train) < count:
                raise UsageError(
                    f"{config.data.name!r} gives {len(self.data.train)} training images, but {what} take {count}. "
                    "Raise data.train_size or lower those."
                )

    def genotype(self, system: System) -> Genotype:
        """Returns the cell that is searched for a system, or was given as a file."""
        if system.network:
            return Genotype.load(system.network)
        return run_search(self._searcher(system).settings(system), str(self.search_folder(system)))

    def _searcher(self, system: System) -> ExperimentStore:
        """Returns the store on whose data set a system's cell is searched."""
        return self.first if system.searched_on_first and self.first else self

    def train(self, system: System) -> pathlib.Path:
        """Searches and trains a system, as far as that is not done, and returns the path of its model."""
        if system.trained:
            return pathlib.Path(system.network)
        config, folder = self.settings(system), self.network_folder(system)
        best, finished = (folder / file_names.TRAIN / name for name in (file_names.BEST_NETWORK, file_names.FINISHED))
        if finished.exists():
            return best
        if not config.train.network:
            genotype = self.genotype(system)
            genotype.save(folder / file_names.SEARCH / file_names.GENOTYPE)
            _forget()
        _LOGGER.info("Training %s under %r.", system.title, config.train.defence)
        run_training(config, str(folder))
        _forget()
        return best

    def classifier(self, system: System) -> Classifier:
        """Returns the trained classifier of a system."""
        return load_classifier(self.train(system), bounds=self.config.evaluate.bounds if system.trained else (0, 1))

    def parameters(self, system: System) -> int | None:
        """Returns the number of trainable parameters of a system; None for a SavedModel, which does not say.

        An auxiliary head, which takes part in training alone, is not counted.
        """
        path = self.train(system)
        if path.is_dir():
            return None
        network = load_network(path)
        heads = [layer for layer in network._flatten_layers() if isinstance(layer, AuxiliaryHead)]
        training_alone = {id(variable) for head in heads for variable in head.trainable_variables}
        counted = [variable for variable in network.trainable_variables if id(variable) not in training_alone]
        return sum(math.prod(variable.shape) for variable in counted)

    def evaluate(self, system: System, attacks: Iterable[str]) -> dict[str, Evaluation]:
        """Returns, for each attack by its name, the evaluation of a system under it."""
        results, classifier = {}, None
        for name, plan in {name: self._plan(name) for name in attacks}.items():
            folder = self.attack_folder(system, name)
            kept = _finished(folder, name, plan)
            if kept is None or not self._is_of(system, folder / file_names.RESULTS):
                classifier = classifier or self.classifier(system)
                kept = self._measure(evaluate, classifier, {name: plan}, folder=folder, system=system)
            results[name] = kept
        if classifier is not None:
            _forget()
        return results

    def transfer(self, source: System, targets: Mapping[str, System], attack: str) -> Transfer:
        """Returns how images crafted on a source, called "source", by an attack do on targets, by name."""
        (plan,) = self._plan(attack)
        folders = {name: self.network_folder(target).name for name, target in targets.items()}
        results = self.transfer_folder(source, attack) / file_names.RESULTS
        record: dict[str, Any] = {"seconds": 0.0, "standing": {}}
        if results.exists() and self._is_of(source, results):
            record = read_json(results)
        shown = [
            folders[name]
            for name, target in targets.items()
            if folders[name] in record["standing"].get("source", {}) and self._is_of(target, results, folders[name])
        ]
        new = {folders[name]: target for name, target in targets.items() if folders[name] not in shown}
        if new:
            for system in (source, *new.values()):
                self.train(system)
            models, begun = {folder: self.classifier(target) for folder, target in new.items()}, time.monotonic()
            found = transfer({"source": self.classifier(source)}, models, self.data.test, plan, **self._options)
            record |= {"seconds": record["seconds"] + time.monotonic() - begun, "versions": library_versions()}
            record["network"] = self._network(source)
            record.setdefault("targets", {}).update({folder: self._network(target) for folder, target in new.items()})
            for crafted, counts in found.num_robust.items():
                record["standing"].setdefault(crafted, {}).update(counts)
            write_json(results, record)
            _forget()
        num_robust = {
            crafted: {name: counts[folder] for name, folder in folders.items()}
            for crafted, counts in record["standing"].items()
        }
        return Transfer(num_robust, len(self.data.test), plan, self.config.seed)

    def sweep(self, system: System) -> dict[str, Sweep]:
        """Returns the sweeps of a system: of each of `sweep.attacks` over eps, and of PGD over its steps ("steps")."""
        settings, classifier, folders = self.config.sweep, self.classifier(system), self.sweep_folders(system)
        sweeps = {
            name: self._measure(
                sweep_eps, classifier, self._plan(name), settings.epsilons, folder=folders[name], system=system
            )
            for name in settings.attacks
        }
        (attack,) = self._plan(f"pgd{settings.steps[-1]}")
        sweeps["steps"] = self._measure(
            sweep_steps, classifier, attack, settings.steps, folder=folders["steps"], system=system
        )
        _forget()
        return sweeps

    def _measure(
        self,
        measure: Callable[..., _Result],
        classifier: Classifier,
        *what: Any,
        folder: pathlib.Path,
        system: System,
    ) -> _Result:
        """Returns a measurement on the test images, which its folder keeps with the time that it took."""
        begun, results, network = time.monotonic(), folder / file_names.RESULTS, self._network(system)
        folder.mkdir(parents=True, exist_ok=True)
        with FolderLock(folder):
            result = measure(classifier, self.data.test, *what, folder=folder, **self._options)
            if not results.exists() or read_json(results).get("network") != network:
                record = {"seconds": time.monotonic() - begun, "versions": library_versions(), "network": network}
                write_json(results, record | result.to_dict())
        return result

    def _network_path(self, system: System) -> pathlib.Path:
        if system.trained:
            return pathlib.Path(system.network)
        return self.network_folder(system) / file_names.TRAIN / file_names.BEST_NETWORK

    def _network(self, system: System) -> str:
        """Returns a digest of the file of a system's trained network."""
        return short_digest(_content(self._network_path(system)))

    def _is_of(self, system: System, results: pathlib.Path, target: str | None = None) -> bool:
        """Returns whether results that are kept are of the network that a system has now, or are all there is of it.

        Where an earlier version did not note the network, they are if its file has not been written since.

        Arguments:
            system: of the network.
            results: the file.
            target: the name of the network's folder, where it is the target of a transfer.
        """
        path, record = self._network_path(system), read_json(results)
        if not path.exists():
            return True
        noted = record.get("network") if target is None else record.get("targets", {}).get(target)
        if noted is None:
            return path.is_dir() or path.stat().st_mtime <= results.stat().st_mtime
        if noted != self._network(system):
            _LOGGER.warning("%s is of another network than %s is now, and is not used.", results, path)
        return noted == self._network(system)

    def run_folders(self, system: System) -> list[pathlib.Path]:
        """Returns the folders that hold the histories of a system's search here and training, where it has them."""
        if system.trained:
            return []
        here = not system.network and self._searcher(system) is self
        searched = [self.search_folder(system) / file_names.SEARCH] if here else []
        return [*searched, self.network_folder(system) / file_names.TRAIN]

    def search_folder(self, system: System) -> pathlib.Path:
        """Returns the folder of a system's search."""
        searcher = self._searcher(system)
        if searcher is not self:
            return searcher.search_folder(system)
        config = self.settings(system)
        return self.folder / file_names.SEARCHES / self._name(config, config.search.mode, ("attack", "search"))

    def network_folder(self, system: System) -> pathlib.Path:
        """Returns the folder of a system's training and attacks."""
        if system.trained:
            path, settings = pathlib.Path(system.network), [*self.config.evaluate.bounds, self.config.data.image_size]
            return (
                self.folder
                / file_names.GIVEN
                / f"{slug(path.stem, _LONGEST)}-{short_digest(_content(path) + str(settings).encode())}"
            )
        config = self.settings(system)
        parts: tuple[str, ...] = ("attack", "train")
        name = config.train.network or config.search.mode
        if system.is_genotype_file:
            content = Genotype.load(system.network).to_json().encode()
            name = f"{pathlib.Path(system.network).stem}-{short_digest(content)}"
        elif not system.network and self._searcher(system) is self:
            parts += ("search",)
        elif not system.network:
            name = f"{name}-{short_digest(self.search_folder(system).name.encode())}"
        return self.folder / file_names.NETWORKS / self._name(config, f"{name}-{config.train.defence}", parts)

    def attack_folder(self, system: System, attack: str) -> pathlib.Path:
        """Returns the folder of a system's evaluation under an attack."""
        return self.network_folder(system) / file_names.ATTACKS / self._threat(attack)

    def transfer_folder(self, source: System, attack: str) -> pathlib.Path:
        """Returns the folder of how images crafted on a source by an attack do on other systems."""
        return self.network_folder(source) / file_names.TRANSFERS / self._threat(attack)

    def sweep_folders(self, system: System) -> dict[str, pathlib.Path]:
        """Returns the folders of a system's sweeps, by their names in `sweep`."""
        settings, folder = self.config.sweep, self.network_folder(system) / file_names.SWEEPS
        epsilons = short_digest(str(settings.epsilons).encode())
        names = {name: f"{name}-{epsilons}" for name in settings.attacks}
        first, longest = settings.steps[0], f"pgd{settings.steps[-1]}"
        names["steps"] = longest if first == 1 else f"{longest}-from{first}"
        return {sweep: folder / self._threat(name) for sweep, name in names.items()}

    @property
    def _options(self) -> dict[str, Any]:
        return {"batch_size": self.config.evaluate.batch_size, "seed": self.config.seed}

    def _plan(self, attack: str) -> Plan:
        threat = self.config.attack
        return make_attack(attack, threat.eps, threat.step_size, threat.norm)

    def _threat(self, attack: str) -> str:
        threat, data = self.config.attack, self.config.data
        settings = [*threat.to_dict().items(), data.name, data.test_size, self.config.seed, *self._data_content]
        return f"{attack}-{short_digest(json.dumps(settings).encode())}"

    @cached_property
    def _data_content(self) -> tuple[str, ...]:
        """A digest of the data set's files where they are the user's own, which may change under one name."""
        path = own_files(self.config.data.name)
        return (short_digest(_content(path)),) if path and path.exists() else ()

    def _name(self, config: ConfigDict, name: str, parts: tuple[str, ...]) -> str:
        chosen = {part: config[part].to_dict() for part in ("data", *parts)}
        for setting in READING:
            chosen["data"].pop(setting.removeprefix("data."))
        for setting, before in ADDED.items():  # so that what was made before they came is found again
            section, _, field = setting.partition(".")
            if section in chosen and chosen[section].get(field, ...) == before:
                del chosen[section][field]
        chosen |= {"mixed_precision": config.mixed_precision}
        if config.deterministic:
            chosen["deterministic"] = True
        if self._data_content:
            chosen["content"] = self._data_content
        settings = json.dumps(chosen, sort_keys=True).encode()
        dataset = slug(pathlib.Path(config.data.name).stem, _LONGEST)
        return f"{dataset}-{slug(name, _LONGEST)}-seed{config.seed}-{short_digest(settings)}"


def wall_time(folders: Iterable[pathlib.Path]) -> float:
    """Returns the wall time in seconds of the searches, trainings and attacks that folders of a store keep, each once.

    Arguments:
        folders: by `run_folders`, `attack_folder`, `transfer_folder` or `sweep_folders` of an `ExperimentStore`. Where
            nothing is kept yet, no time is counted; of an attack that was interrupted, that of its last start.
    """
    kept = set(folders)
    epochs = [float(row["seconds"]) for folder in kept for row in read_table(folder / file_names.HISTORY)]
    return math.fsum([*epochs, *(record["seconds"] for record in _records(kept, file_names.RESULTS))])


def made_by(folders: Iterable[pathlib.Path]) -> str:
    """Returns the versions by which what folders of a store keep came about, as one line; empty if there is nothing."""
    kept = set(folders)
    versions = [record.get("versions") for record in _records(kept, file_names.RESULTS)]
    versions += _records(kept, file_names.VERSIONS)
    names = {"racl_tf": "racl_tf", "TensorFlow": "tensorflow", "Keras": "keras"}
    lines = {", ".join(f"{name} {made[key]}" for name, key in names.items()) for made in versions if made}
    return "; ".join(sorted(lines))


def _records(folders: Iterable[pathlib.Path], name: str) -> list[dict[str, Any]]:
    return [read_json(path) for path in (folder / name for folder in folders) if path.exists()]


def _finished(folder: pathlib.Path, name: str, plan: Plan) -> Evaluation | None:
    """Returns the evaluation that a folder keeps, or None if it is not finished or by attacks other than these."""
    if not (folder / file_names.RESULTS).exists():
        return None
    record = read_json(folder / file_names.RESULTS)
    attacks = record["results"][name]["attacks"]
    made = [{key: value for key, value in attack.items() if key != "correct_after"} for attack in attacks]
    if made != [attack.to_dict() for attack in plan]:
        return None
    arrays = read_arrays(folder / file_names.OUTCOMES)
    labels, predictions, outcomes = arrays["labels"], arrays["predictions"], AttackOutcomes.from_arrays(arrays, name)
    return Evaluation(labels, predictions, record["classes"], {name: outcomes}, {name: plan}, record["seed"])


def _content(path: pathlib.Path) -> bytes:
    """Returns a digest of a file, or of all files in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return b"".join(_file_digest(file) for file in files if file.is_file())


def _file_digest(path: pathlib.Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _forget() -> None:
    """Frees the graphs and variables of models that are no longer there."""
    keras.utils.clear_session()
