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


def test_the_recipe_of_wsr_nas_is_the_paper_s_search_and_another_training(configuration: Configuration) -> None:
    config, paper = configuration("reproduction", "wsr"), configuration("reproduction").cifar10
    assert config.datasets == ("cifar10",)
    ours, train = config.cifar10, config.cifar10.train
    assert ours.search == paper.search
    assert (train.learning_rate, train.momentum, train.weight_decay, train.clip_norm) == (0.1, 0.9, 1e-4, 5.0)
    assert (train.epochs, train.milestones, train.batch_size, train.held_out) == (200, (100, 150), 64, 0)
    assert (train.auxiliary, train.drop_path, ours.data.cutout) == (False, 0.0, 0)
    assert (train.defence, train.attack_steps, ours.attack.eps) == ("pgd", 7, 0.031)
    assert ours.attack.step_size * 7 == pytest.approx(2.5 * 0.031)
    printed = configuration("reproduction", "wsr-printed").cifar10
    assert (printed.train, printed.search.constraint_update) == (train, "printed")


@pytest.mark.parametrize("milestones", [(3, 2), (2, 2), (1,), (0, 5), (11,), (2.5,), ("5",)])
def test_milestones_rise_within_the_epochs(milestones: tuple) -> None:
    config = paper_settings()
    config.train.epochs = 10
    config.train.milestones = (2, 10)
    check_settings(config)
    config.train.milestones = milestones
    with pytest.raises(UsageError, match=r"rising order, from 2 to train\.epochs=10.*Received: train\.milestones=\("):
        check_settings(config)


def test_a_ramp_without_drop_path_is_refused() -> None:
    config = paper_settings()
    config.train.drop_path_ramp = True
    with pytest.raises(UsageError, match=r"train\.drop_path, which is 0\. Give that too"):
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


@pytest.mark.parametrize("section", ["search", "train"])
def test_parts_of_a_batch_have_an_image_each(section: str) -> None:
    config = paper_settings()
    config[section].batch_size = config[section].accumulation_steps = 4
    check_settings(config)
    config[section].accumulation_steps = 5
    with pytest.raises(
        UsageError, match=rf"at most {section}\.batch_size=4.*Received: {section}\.accumulation_steps=5"
    ):
        check_settings(config)
