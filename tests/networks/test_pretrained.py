"""A trained network that is saved as a folder is the same one when it is loaded, from here or from the Hub."""

import pathlib
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.errors import UsageError
from racl_tf.networks import (
    Ensemble,
    from_pretrained,
    make_network,
    pretrained_description,
    save_pretrained,
)
from racl_tf.space import GENOTYPES, Genotype

SHAPE = (8, 8, 3)


def network(seed: int = 0, classes: int = 3) -> keras.Model:
    return make_network(
        "racl", classes, seed=seed, channels=4, cells=1, input_shape=SHAPE, mean=(0.4, 0.5, 0.6), std=0.25
    )


@pytest.mark.parametrize(
    "made",
    [
        network(),
        Ensemble([make_network("resnet18", 3, channels=2, input_shape=SHAPE, seed=seed) for seed in range(2)]),
        keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]),
    ],
    ids=["genotype", "ensemble", "keras"],
)
def test_it_is_the_same_network(made: keras.Model, tmp_path: pathlib.Path) -> None:
    images = tf.constant(np.random.default_rng(0).uniform(size=(4, *SHAPE)), tf.float32)
    folder = save_pretrained(made, tmp_path / "deep" / "mine", class_names=["a", "b", "é"])
    np.testing.assert_array_equal(from_pretrained(folder)(images), made(images))
    description = pretrained_description(folder)
    assert (description["classes"], description["class_names"]) == (3, ["a", "b", "é"])
    assert description["input_shape"] == list(SHAPE)
    assert description["parameters"] == sum(int(np.prod(weight.shape)) for weight in made.trainable_weights)


def test_it_says_what_the_network_is_and_was_trained_for(tmp_path: pathlib.Path) -> None:
    threat, results = {"norm": "linf", "eps": 0.1}, {"clean": {"accuracy": 0.5}}
    description = pretrained_description(save_pretrained(network(), tmp_path / "mine", threat=threat, results=results))
    assert description["network"] == "GenotypeNetwork"
    assert Genotype.from_json(description["genotype"]) == GENOTYPES["racl"]
    assert description["sizes"]["channels"] == 4
    assert description["sizes"]["cells"] == 1
    np.testing.assert_allclose(description["mean"], (0.4, 0.5, 0.6))
    assert description["std"] == [0.25] * 3
    assert (description["threat"], description["results"], description["class_names"]) == (threat, results, None)


def test_the_hub_is_asked_for_the_two_files_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, asked = save_pretrained(network(), tmp_path / "mine"), []

    def snapshot_download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        if repository == "some/missing":
            raise RuntimeError("404:\n  not found")
        return str(folder)

    stand_in = types.ModuleType("huggingface_hub")
    stand_in.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    np.testing.assert_array_equal(from_pretrained("hf://some/one").get_weights()[0], network().get_weights()[0])
    pretrained_description("hf://some/one@v1.0")
    files = ["network.keras", "network.json"]
    assert asked == [("some/one", None, files), ("some/one", "v1.0", files)]
    with pytest.raises(UsageError, match=r"'hf://some/missing' cannot be downloaded: 404: not found Check the name"):
        from_pretrained("hf://some/missing")
    with pytest.raises(UsageError, match=r"no address of the Hugging Face Hub\. Write hf://user/name"):
        from_pretrained("hf://one")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"needs huggingface_hub: .* Run: pip install huggingface_hub"):
        from_pretrained("hf://some/one")


def test_what_is_not_what_it_says_is_refused(tmp_path: pathlib.Path) -> None:
    folder = save_pretrained(network(), tmp_path / "mine")
    network(seed=1).save(folder / "network.keras")
    with pytest.raises(UsageError, match=r"mine' holds other weights than its network\.json describes"):
        from_pretrained(folder)
    (folder / "network.json").write_text("[]")
    with pytest.raises(UsageError, match=r"network\.json' is damaged: it does not describe a network"):
        from_pretrained(folder)
    (folder / "network.json").unlink()
    with pytest.raises(UsageError, match=r"holds no network\.json\. Give a folder that `save_pretrained`"):
        from_pretrained(folder)
    with pytest.raises(UsageError, match=r"There is no folder .*missing'\. Give the path of one, or hf://user/name"):
        from_pretrained(tmp_path / "missing")


def test_nothing_is_written_in_place_of_another_or_of_a_mistake(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"name for each of the 3 classes\. Received 2 names"):
        save_pretrained(network(), tmp_path / "mine", class_names=["a", "b"])
    with pytest.raises(UsageError, match="The model defines no input shape"):
        save_pretrained(keras.Sequential([keras.layers.Dense(3)]), tmp_path / "mine")
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match=r"mine': it exists\. Remove it or choose another folder"):
        save_pretrained(network(), tmp_path / "mine")
