"""The course of a training as a picture."""

import pathlib

import pytest

from racl_tf.reporting import plot_training


@pytest.mark.parametrize("attacked", [True, False])
@pytest.mark.parametrize("epochs", [1, 3])
def test_it_is_drawn_of_any_training(epochs: int, attacked: bool, tmp_path: pathlib.Path) -> None:
    names = ["loss", "accuracy", "val_loss", "val_accuracy"]
    names += ["val_robust_loss", "val_robust_accuracy"] if attacked else []
    history = [{"epoch": str(epoch + 1)} | dict.fromkeys(names, "0.5") for epoch in range(epochs)]
    plot_training(history, tmp_path / "train.svg")
    drawn = (tmp_path / "train.svg").read_text()
    assert ("held out, attacked" in drawn) == attacked
    assert "held out" in drawn
