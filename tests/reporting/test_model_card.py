"""A model card says what is known, letter by letter, and nothing that was not measured."""

import json
from typing import Any

import pytest

from racl_tf.reporting.model_card import USES, is_unchanged, render_model_card

DESCRIPTION: dict[str, Any] = {
    "racl_tf": "0.1.0",
    "network": "GenotypeNetwork",
    "genotype": '{"name": "mine"}',
    "sizes": {"channels": 4, "cells": 3},
    "input_shape": [8, 9, 1],
    "mean": [0.5],
    "std": [0.25],
    "classes": 2,
    "class_names": ["cat", "<b>*dog*</b>"],
    "parameters": 12345,
    "threat": {"norm": "linf", "eps": 8 / 255, "step_size": 2 / 255, "defence": "pgd", "attack_steps": 7},
    "results": None,
    "weights": "ab",
}
TRAINING = {"data": {"name": "cifar10", "train_size": None}, "train": {"epochs": 5, "initial": None}}
RESULTS = {
    "dataset": "my\nset: [1]",
    "images": 200,
    "norm": "linf",
    "eps": 8 / 255,
    "date": "2026-01-02T03:04:05+00:00",
    "results": {
        "clean": {"correct": 100, "accuracy": 0.5, "interval": [0.431, 0.569]},
        "worst_case": {"correct": 50, "accuracy": 0.25, "interval": [0.195, 0.314]},
    },
    "masking": {
        "findings": [
            {"measure": "falls", "meaning": "Use another.", "verdict": "suspicious"},
            {"measure": "stands", "meaning": "All is well.", "verdict": "pass"},
        ]
    },
}


def front_matter(card: str) -> dict[str, Any]:
    """Returns the fields of the front matter, each a line of JSON."""
    first, *lines = card.splitlines()
    assert first == "---"
    fields = [line.partition(": ") for line in lines[: lines.index("---")]]
    return {name: json.loads(value) for name, _, value in fields}


@pytest.mark.parametrize("form", USES)
def test_what_is_known_is_said(form: str) -> None:
    card = render_model_card(DESCRIPTION, form, TRAINING)
    assert ("normalised already" in card) == (form == "torch"), "PyTorch's network does not normalise"
    fields = front_matter(card)
    assert fields["datasets"] == ["uoft-cs/cifar10"]
    assert fields["pipeline_tag"] == "image-classification"
    assert "model-index" not in fields
    assert "# mine for cifar10" in card
    assert "12,345 trainable parameters: images of 8x9 pixels and 1 channel," in card
    assert "cat, &#60;b>&#42;dog&#42;&#60;/b>." in card
    assert "the L-infinity ball of radius 8/255" in card
    assert "7 attack steps of 2/255" in card
    assert "Nothing was measured" in card
    assert "%" not in card


def test_figures_are_those_of_the_results() -> None:
    card = render_model_card({**DESCRIPTION, "results": RESULTS, "threat": None}, "keras", TRAINING)
    assert "| clean | 50.0 | 43.1 to 56.9 | 100 |" in card.splitlines()
    assert "| worst_case | 25.0 | 19.5 to 31.4 | 50 |" in card.splitlines()
    assert "On 200 test images of my set: &#91;1&#93;, under attacks" in card
    assert "* Sign of gradient masking: falls. Use another." in card
    assert "stands" not in card
    assert "to withstand no attack" in card
    (model,) = front_matter(card)["model-index"]
    assert [metric["value"] for metric in model["results"][0]["metrics"]] == [0.5, 0.25]


def test_a_change_by_hand_is_noticed() -> None:
    card = render_model_card(DESCRIPTION, "keras", TRAINING)
    assert is_unchanged(card)
    for changed in (card + "More.\n", card.replace("mine", "yours"), "", "# Mine\n"):
        assert not is_unchanged(changed)
