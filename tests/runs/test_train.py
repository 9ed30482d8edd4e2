"""Training, evaluation and export of a run on the digits."""

import importlib.resources
import json
import pathlib

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.files import read_table
from racl_tf.runs.common import load_data
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.export import run_export
from racl_tf.runs.train import run_training, start_from
from racl_tf.space import GENOTYPES, Genotype


@pytest.mark.slow
def test_training_evaluation_and_export_follow_from_a_genotype(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.train.network = "pc_darts"
    config.train.auxiliary = True
    config.train.drop_path = 0.1
    workdir = str(tmp_path)
    best = run_training(config, workdir)
    history = read_table(tmp_path / "train/history.csv")
    assert [row["epoch"] for row in history] == ["1"]
    assert Genotype.load(tmp_path / "train/genotype.json") == GENOTYPES["pc_darts"]

    evaluation, masking = run_evaluation(config, workdir)
    again, found = run_evaluation(config, workdir)
    assert (str(again), str(found)) == (str(evaluation), str(masking))
    network = keras.saving.load_model(best, compile=False)
    test = load_data(config).test
    predictions = np.argmax(network.predict(test.images(), verbose=0), -1)
    np.testing.assert_array_equal(evaluation.correct["clean"], predictions == test.y)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    schema = importlib.resources.files("racl_tf.evaluation").joinpath("results.schema.json").read_text()
    jsonschema.validate(results, json.loads(schema))
    assert results["images"] == len(test)
    assert results["model"] == "train/best.keras"
    assert len(results["masking"]["findings"]) > 5

    path, difference = run_export(config, workdir)
    assert difference < 1e-5
    logits = tf.saved_model.load(str(path)).signatures["logits"](images=tf.constant(test.images()[:3]))["logits"]
    np.testing.assert_allclose(logits, network(test.images()[:3]), rtol=1e-4, atol=1e-5)
    assert run_export(config, workdir) == (path, difference)

    network.head.bias.assign_add([1e-4] * 10)
    network.save(best)  # another network, of the same predictions
    with pytest.raises(UsageError, match=r"saved_model' holds another network than train/best\.keras is now"):
        run_export(config, workdir)
    with pytest.raises(UsageError, match="begun with another model: its graph or its weights differ"):
        run_evaluation(config, workdir)


def test_a_finished_training_of_another_genotype_is_not_taken(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.train.network = ""
    GENOTYPES["darts"].save(tmp_path / "search/genotype.json")
    GENOTYPES["darts"].save(tmp_path / "train/genotype.json")
    (tmp_path / "train/finished.json").write_text("{}")
    assert run_training(config, str(tmp_path)) == tmp_path / "train/best.keras"
    GENOTYPES["pc_darts"].save(tmp_path / "search/genotype.json")
    with pytest.raises(UsageError, match="begun with another genotype"):
        run_training(config, str(tmp_path))


def test_a_network_starts_from_the_weights_of_another(tmp_path: pathlib.Path) -> None:
    def dense(classes: int) -> keras.Model:
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(classes)])

    trained, fresh = dense(3), dense(3)
    trained.save(tmp_path / "best.keras")
    start_from(fresh, str(tmp_path / "best.keras"))
    for weight, value in zip(fresh.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, value)
    with pytest.raises(UsageError, match=r"best\.keras' are not those of the network that is trained"):
        start_from(dense(4), str(tmp_path / "best.keras"))


def test_training_without_a_search_says_what_to_do(config: ConfigDict, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="Run racl-search"):
        run_training(config, str(tmp_path))
    with pytest.raises(UsageError, match="Run racl-train"):
        run_evaluation(config, str(tmp_path))
