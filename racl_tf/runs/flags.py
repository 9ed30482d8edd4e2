"""Flags of the programs that attack a model, for the settings that one changes most."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ml_collections import ConfigDict

from racl_tf.runs.command_line import SettingFlag


def number(text: str) -> float:
    """Returns the value of a decimal number or a fraction.

    >>> number("8/255") == 8 / 255
    True
    """
    return float(Fraction(text.strip()))


def names(text: str) -> tuple[str, ...]:
    """Returns the parts of a list with commas.

    >>> names("fgsm, pgd20")
    ('fgsm', 'pgd20')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str) -> tuple[float, ...]:
    """Returns the numbers of a list with commas.

    >>> numbers("1/4,1")
    (0.25, 1.0)
    """
    return tuple(number(part) for part in names(text))


def _sets(setting: str, parse: Callable[[str], Any], help_text: str) -> SettingFlag:
    return SettingFlag(lambda config, text: config.update_from_flattened_dict({setting: parse(text)}), help_text)


def _set_eps(config: ConfigDict, text: str) -> None:
    eps = number(text)
    config.attack.step_size *= eps / config.attack.eps
    config.attack.eps = eps


MODEL = {"model": _sets("evaluate.model", str, "a .keras file or a SavedModel's folder; by default WORKDIR's network.")}
THREAT = {
    "dataset": _sets("data.name", str, "a data set: digits, mnist, cifar10, a TFDS name, a folder or an .npz file."),
    "data_dir": _sets("data.data_dir", str, "the folder where TFDS keeps its sets."),
    "images": _sets("data.test_size", int, "how many test images, a stratified choice; by default all."),
    "bounds": _sets("evaluate.bounds", numbers, "the model's inputs for black and for white, such as 0,255."),
    "norm": _sets("attack.norm", str, "linf or l2."),
    "eps": SettingFlag(_set_eps, "the radius as a number or fraction, such as 8/255; the step size changes alike."),
}
ATTACKS = {
    "attacks": _sets(
        "evaluate.attacks",
        names,
        "names with commas (of two or three classes those on the margin): fgsm, pgdN, mimN, autoattack, "
        "autoattack_rand, apgd, apgd_dlr, apgd_t, fab, square, autoattack_margin, autoattack_rand_margin, "
        "apgd_margin, apgd_t_margin.",
    )
}
SWEEP = {
    "attacks": _sets(
        "sweep.attacks", names, "what is swept over the radius, names with commas: pgd20, autoattack, ..."
    ),
    "epsilons": _sets("sweep.epsilons", numbers, "rising radii with commas, as numbers or fractions."),
    "steps": _sets("sweep.steps", lambda text: tuple(map(int, names(text))), "rising numbers of PGD's steps."),
}
TRANSFER = {
    "models": _sets("transfer.models", names, "NAME=PATH with commas, .keras files or SavedModels' folders."),
    "sources": _sets("transfer.sources", names, "names of the models that are attacked, with commas; by default all."),
    "attack": _sets("transfer.attack", str, "by which images are crafted, such as pgd20 or mim."),
}


def _set_data_dir(config: ConfigDict, text: str) -> None:
    for dataset in config.datasets:
        if dataset in config:  # or it is unknown, which is said later
            config[dataset].data.data_dir = text


REPRODUCTION = {
    "exhibits": _sets("exhibits", names, "table1, ..., table5, figure2, figure3, with commas; by default all."),
    "datasets": _sets("datasets", names, "those of Table 4, with commas; the others' is the first."),
    "networks": _sets("networks", names, "your own, NAME=PATH with commas: genotypes' .json files or trained models."),
    "data_dir": SettingFlag(_set_data_dir, "the folder where TFDS keeps its sets."),
}
STUDY = {
    "seeds": _sets("study.seeds", int, "how many seeds."),
    "variants": _sets("study.variants", lambda text: tuple(text.split(";")), "names of variants with semicolons."),
    "data_dir": THREAT["data_dir"],
}
CHOICE = {
    "samples": _sets("choose.samples", int, "how many architectures are drawn."),
    "images": _sets("choose.images", int, "how many images they are tried on."),
}
