"""What a system's network is taken for: a name in the registry, a genotype's file, a trained model, a search."""

import pathlib

import pytest

from racl_tf.reproduction.system import System


@pytest.mark.parametrize(
    ("network", "is_genotype_file", "trained"),
    [
        ("", False, False),
        ("racl", False, False),
        ("ResNet-18", False, False),
        ("mine.json", True, False),
        ("folder/mine.JSON", True, False),
        ("mine.keras", False, True),
        ("mine.h5", False, True),
        ("saved/model", False, True),
    ],
)
def test_by_its_name(network: str, is_genotype_file: bool, trained: bool) -> None:
    system = System("mine", network)
    assert (system.is_genotype_file, system.trained) == (is_genotype_file, trained)


def test_a_folder_is_a_saved_model_unless_a_network_is_called_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("resnet18", "mine"):
        (tmp_path / name).mkdir()
    assert not System("ResNet-18", "resnet18").trained
    assert System("mine", "mine").trained
    assert System("mine", "./resnet18").trained


def test_systems_are_equal_if_they_come_about_alike() -> None:
    assert System("a", "racl", {"train.defence": "none"}) == System("a", "racl", {"train.defence": "none"})
    assert System("a", "racl") != System("a", "racl", {"train.defence": "none"})
