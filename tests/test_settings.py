"""The configurations by name hold what they say, in the ranges that programs check."""

from collections.abc import Callable

import pytest
from ml_collections import ConfigDict

from racl_tf.settings import check_settings

Configuration = Callable[..., ConfigDict]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "digits", "reproduction", "study"])
@pytest.mark.parametrize("variant", [(), ("cpu",), ("smoke",)], ids=str)
def test_every_configuration_s_numbers_are_in_their_ranges(
    configuration: Configuration, name: str, variant: tuple[str, ...]
) -> None:
    check_settings(configuration(name, *variant))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist"])
def test_the_configurations_hold_the_paper_s_settings(configuration: Configuration, name: str) -> None:
    config = configuration(name)
    assert config.data.name == name
    search = config.search
    assert (search.mode, search.channels, search.cells, search.partial) == ("racl", 16, 8, None)
    assert (search.epochs, search.warmup_epochs, search.batch_size) == (50, 15, 128)
    assert (search.learning_rate, search.momentum, search.weight_decay) == (0.1, 0.9, 3e-4)
    assert (search.architecture_learning_rate, search.architecture_weight_decay) == (6e-4, 1e-3)
    assert (search.eta, search.rho) == (0.9, 1e-3)
    assert (config.train.defence, config.train.attack_steps) == ("pgd", 7)
    threat = (76.5, 20) if name == "mnist" else (8, 2)
    assert (config.attack.eps * 255, config.attack.step_size * 255) == pytest.approx(threat)
    for variant in ("cpu", "smoke"):
        smaller = configuration(name, variant)
        assert smaller.data.name == name
        assert smaller.train.cells < 20
