"""Flags for the settings that one changes most, the same ones of all programs."""

import math
import re
from fractions import Fraction

from ml_collections import ConfigDict

from racl_tf.runs.arguments import SettingFlag
from racl_tf.settings import usual_threat


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


def models(text: str) -> tuple[str, ...]:
    """Returns NAME=PATH and NAME=PATH@LOW,HIGH of a list with commas.

    >>> models("a=a.keras@0,255, b=b.keras")
    ('a=a.keras@0,255', 'b=b.keras')
    """
    return tuple(part.strip() for part in re.split(r",(?=[^,]*=)", text) if part.strip())


def numbers(text: str) -> tuple[float, ...]:
    """Returns the numbers of a list with commas.

    >>> numbers("1/4,1")
    (0.25, 1.0)
    """
    return tuple(number(part) for part in names(text))


def _set_dataset(config: ConfigDict, name: str) -> None:
    """Takes another data set, whole and as it is, with the threat that is usual for it."""
    if name != config.data.name:
        config.data.update({"name": name, "train_size": None, "test_size": None, "image_size": None})
        _set_threat(config, usual_threat(name, config.attack.norm))


def _set_norm(config: ConfigDict, norm: str) -> None:
    if norm != config.attack.norm:
        config.attack.norm = norm
        _set_threat(config, usual_threat(config.data.name, norm))


def _set_threat(config: ConfigDict, eps: float) -> None:
    scale = eps / config.attack.eps
    config.sweep.epsilons = tuple(float(f"{scale * value:.3g}") for value in config.sweep.epsilons)
    config.attack.update({"eps": eps, "step_size": eps / 4})


def _set_eps(config: ConfigDict, eps: float) -> None:
    ratio = config.attack.step_size / config.attack.eps
    config.attack.update({"eps": eps, "step_size": eps * (0.25 if math.isnan(ratio) else ratio)})


MODEL = {
    "model": SettingFlag(
        "evaluate.model", str, "a .keras file, an exported folder or hf://user/name; by default WORKDIR's network."
    )
}
THREAT = {
    "dataset": SettingFlag(
        "data.name",
        str,
        "a data set, all of it: digits, mnist, cifar10, a TFDS name, a folder or an .npz file; with its usual eps.",
        _set_dataset,
    ),
    "data_dir": SettingFlag("data.data_dir", str, "the folder where TFDS keeps its sets."),
    "norm": SettingFlag("attack.norm", str, "linf or l2; with the usual eps of the data set in it.", _set_norm),
    "eps": SettingFlag(
        "attack.eps",
        number,
        "the radius as a number or fraction, such as 8/255; the step size changes alike.",
        _set_eps,
    ),
    "seed": SettingFlag("seed", int, "an integer from which everything random follows."),
}
IMAGES = {
    "images": SettingFlag("data.test_size", int, "how many test images, a stratified choice; by default all."),
    "bounds": SettingFlag("evaluate.bounds", numbers, "the model's inputs for black and for white, such as 0,255."),
}
CALLBACKS = {
    "callbacks": SettingFlag(
        "callbacks", str, "module:function of your own, which makes Keras callbacks of the run's settings."
    )
}
EXPORT = {
    "format": SettingFlag(
        "export.formats", names, "names with commas: saved_model, keras, onnx, litert, torch; by default saved_model."
    )
}
SEARCH = {"epochs": SettingFlag("search.epochs", int, "how many epochs are searched, those of the warm-up included.")}
TRAIN = {
    "network": SettingFlag(
        "train.network", str, "a network's name or a genotype's .json file; by default WORKDIR's searched cell."
    ),
    "epochs": SettingFlag("train.epochs", int, "how many epochs are trained."),
}
ATTACKS = {
    "attacks": SettingFlag(
        "evaluate.attacks",
        names,
        "names with commas (of two or three classes those on the margin; of random models pgd20_eot10): fgsm, pgdN, "
        "mimN, cwN, cw_l2, autoattack, autoattack_rand, apgd, apgd_dlr, apgd_t, fab, square, autoattack_margin, "
        "autoattack_rand_margin, apgd_margin, apgd_t_margin.",
    )
}
EVALUATE = {
    "keep_adversarial": SettingFlag(
        "evaluate.keep_adversarial",
        bool,
        "keep an adversarial image of every image that fell, by which racl-verify recounts the figures.",
    ),
    "corruptions": SettingFlag(
        "evaluate.corruptions",
        str,
        "a folder of corrupted images in the format of CIFAR-10-C: NAME.npy and labels.npy.",
    ),
    "baseline": SettingFlag(
        "evaluate.corruption_baseline", str, "a JSON file of a baseline's errors under them, 5 for each, for the mCE."
    ),
}
SWEEP = {
    "attacks": SettingFlag(
        "sweep.attacks", names, "what is swept over the radius, names with commas: pgd20, autoattack, ..."
    ),
    "epsilons": SettingFlag("sweep.epsilons", numbers, "rising radii with commas, as numbers or fractions."),
    "steps": SettingFlag("sweep.steps", lambda text: tuple(map(int, names(text))), "rising numbers of PGD's steps."),
}
TRANSFER = {
    "models": SettingFlag(
        "transfer.models", models, "NAME=PATH or NAME=PATH@0,255 with commas, .keras files or SavedModels' folders."
    ),
    "sources": SettingFlag(
        "transfer.sources", names, "names of the models that are attacked, with commas; by default all."
    ),
    "attack": SettingFlag("transfer.attack", str, "by which images are crafted, such as pgd20 or mim."),
}


def _set_data_dir(config: ConfigDict, text: str) -> None:
    for dataset in config.datasets:
        if dataset in config:  # or it is unknown, which is said later
            config[dataset].data.data_dir = text


_JOBS = "how many processes make its parts at once, each with a share of the cores; 1 by default."
_LAUNCHER = "slurm, for as many jobs of a cluster in place of processes (needs submitit); all machines have the folder."
_LAUNCHER_OPTIONS = "of these jobs, NAME=VALUE with commas, such as slurm_partition=gpu,timeout_min=600."
_SHARD = "I/N, the share of the parts that is made, on other machines with the same folder; the page is not, then."
REPRODUCTION = {
    "exhibits": SettingFlag("exhibits", names, "table1, ..., table5, figure2, figure3, with commas; by default all."),
    "datasets": SettingFlag("datasets", names, "those of Table 4, with commas; the others' is the first."),
    "networks": SettingFlag(
        "networks", names, "your own, NAME=PATH with commas: genotypes' .json files or trained models."
    ),
    "data_dir": SettingFlag("data.data_dir", str, "the folder where TFDS keeps its sets.", _set_data_dir),
    "jobs": SettingFlag("jobs", int, _JOBS),
    "launcher": SettingFlag("launcher", str, _LAUNCHER),
    "launcher_options": SettingFlag("launcher_options", names, _LAUNCHER_OPTIONS),
    "shard": SettingFlag("shard", str, _SHARD),
}
STUDY = {
    "seeds": SettingFlag("study.seeds", int, "how many seeds."),
    "variants": SettingFlag(
        "study.variants", lambda text: tuple(text.split(";")), "names of variants with semicolons."
    ),
    "data_dir": THREAT["data_dir"],
    "jobs": SettingFlag("study.jobs", int, _JOBS),
    "launcher": SettingFlag("study.launcher", str, _LAUNCHER),
    "launcher_options": SettingFlag("study.launcher_options", names, _LAUNCHER_OPTIONS),
    "shard": SettingFlag("study.shard", str, _SHARD),
}
CHOICE = {
    "samples": SettingFlag("choose.samples", int, "how many architectures are drawn."),
    "images": SettingFlag("choose.images", int, "how many images they are tried on."),
}
