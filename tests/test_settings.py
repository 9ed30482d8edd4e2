"""The configurations by name hold what they say, in the ranges that programs check."""

from collections.abc import Callable, Iterator

import pytest
from ml_collections import ConfigDict

from racl_tf.data import Augmentation
from racl_tf.errors import UsageError
from racl_tf.runs.common import augmentation
from racl_tf.settings import PRINTED, check_settings, paper_settings

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


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "digits", "study"])
def test_every_variant_has_a_printed_one(configuration: Configuration, name: str) -> None:
    """It differs in how the constraint is met, and in nothing else."""
    first = "cpu" if name == "digits" else "paper"
    for variant, printed in ((first, "printed"), ("smoke", "smoke-printed")):
        ours, papers = (dict(flattened(configuration(name, each))) for each in (variant, printed))
        assert {key: papers[key] for key in papers if papers[key] != ours[key]} == PRINTED


def test_one_target() -> None:
    config = paper_settings()
    config.search.reduction, config.search.node_reduction = 6.0, 0.2
    with pytest.raises(UsageError, match=r"one target.*search.node_reduction=0.2, search.reduction=6.0"):
        check_settings(config)


def flattened(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields every setting by its dotted name."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_crop_and_flip_are_the_data_set_s_usual_unless_given(configuration: Configuration) -> None:
    config = configuration("digits")
    assert augmentation(config) == Augmentation(crop=1, flip=False)
    config.data.update({"crop": 0, "flip": True})
    check_settings(config)
    assert augmentation(config) == Augmentation(crop=0, flip=True)
    config.data.crop = -1
    with pytest.raises(UsageError, match=r"data.crop must be an integer of at least 0"):
        check_settings(config)
