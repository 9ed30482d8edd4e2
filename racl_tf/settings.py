"""Every setting of a run, with the paper's values; configurations change what differs.

`ml_collections` types the fields: an override of another type or an unknown name is refused.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from racl_tf.errors import UsageError, shortened, unknown

#: What computes: see `racl_tf.distribution.make_strategy`.
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


def paper_settings() -> ConfigDict:
    """Returns the settings of the paper for CIFAR-10 (Section 3.1; where it is silent, PC-DARTS's).

    Differences from the paper:
        The search meets its constraint in the proximal way (see `racl_tf.search.ConfidenceConstraint`), since to the
        paper's letter it chooses next to nothing; `PRINTED` and the `:printed` variants hold what repeats the paper.
    """
    config = ConfigDict()
    config.seed = 0  # everything random is folded from it
    config.deterministic = False  # whether TensorFlow may use only operations that round the same each time, but slower
    config.mixed_precision = False  # compute in bfloat16; weights, statistics and losses stay float32
    config.strategy = "auto"  # or one_device, mirrored, multi_worker, tpu: the devices (racl_tf.distribution)
    config.callbacks = ""  # module:function that makes Keras callbacks of the settings, for searches and trainings

    config.checkpoint = ConfigDict()
    config.checkpoint.minutes = 5.0  # at most that many between two saved states of a search or a training

    config.data = ConfigDict()
    config.data.name = "cifar10"  # digits, mnist, cifar10, ..., a folder of images, an .npz file
    config.data.data_dir = placeholder(str)  # where TFDS keeps its sets; its own default if not given
    config.data.train_size = placeholder(int)  # images kept of the training set, stratified; all if not given
    config.data.test_size = placeholder(int)  # images kept of the test set
    config.data.image_size = placeholder(int)  # side that images are resized to; as they are if not given
    config.data.max_pixels = 89_478_485  # of an image in a folder; larger ones, which may fill the memory, are refused
    config.data.in_memory = placeholder(bool)  # hold images in memory; if not given, where they fit there with ease
    config.data.cache_dir = placeholder(str)  # where others are kept decoded; in the user's caches if not given
    config.data.crop = placeholder(int)  # pixels of padding before a random crop of training images; usual if not given
    config.data.flip = placeholder(bool)  # whether half of them are mirrored; as is usual for the set if not given
    config.data.cutout = 0  # side in pixels of the square set to 0 in training images

    config.attack = ConfigDict()  # the threat, in training and in evaluation
    config.attack.norm = "linf"  # or "l2"
    config.attack.eps = 8 / 255  # radius, in units of pixels in [0, 1]
    config.attack.step_size = 2 / 255  # of one step of PGD

    config.search = ConfigDict()
    config.search.mode = "racl"  # or no_confidence, unconstrained, pc_darts, darts, random (racl_tf.search.modes)
    config.search.channels = 16  # of the supernet's nodes before the first reduction
    config.search.cells = 8  # depth of the supernet
    config.search.partial = placeholder(
        int
    )  # 1 / partial of the channels are mixed; 4, or 1 in mode darts, if not given
    config.search.epochs = 50
    config.search.warmup_epochs = 15  # the architecture stays fixed
    config.search.batch_size = 128  # of each of the two halves
    config.search.learning_rate = 0.1  # of the weights, cosine to 0
    config.search.momentum = 0.9
    config.search.weight_decay = 3e-4  # coupled L2 on the weights
    config.search.clip_norm = 5.0  # largest global norm of the weights' gradient
    config.search.architecture_learning_rate = 6e-4  # of mu and sigma (Adam, betas 0.5 and 0.999)
    config.search.architecture_weight_decay = 1e-3  # coupled L2 that pulls mu to its start
    config.search.sigma = 0.1  # at the start
    config.search.normalize = "none"  # or "sum": draws are divided by their sum in the network
    config.search.eta = 0.9  # confidence, in [0.5, 1)
    config.search.constraint_update = "proximal"  # by a step of its own, which settles, or "printed": the paper's
    config.search.rho = 1e-3  # penalty of ADMM and step size of theta
    config.search.constraint_step = 1.0  # length of the proximal step on the constraint
    config.search.strictness = 0.2  # the target's share, in (0, 1), of the reduction that choice alone can reach
    config.search.node_reduction = placeholder(
        float
    )  # the target in nats per intermediate node below the start, in place of strictness
    config.search.reduction = placeholder(float)  # the same over the whole network
    config.search.ramp = 0.5  # the share of the architecture's training over which the target descends
    config.search.target = placeholder(float)  # ln(lambda* / C) itself, in place of all these
    config.search.form = "inequality"  # or "equality", the paper's, which also pulls the constant up to the target
    config.search.scale_free = False  # constrain relative weights, which a common shrink cannot meet
    config.search.norms = "matrix"  # or "operator": the norm of the convolution itself
    config.search.norms_batch_norm = True  # include the normalisations' factors, which the paper leaves out
    config.search.updates = "joint"  # or "sequential": sigma after mu
    config.search.second_order = False  # the architecture's gradient through a step of the weights, as DARTS has it
    config.search.recompute = False  # compute cells again in backward passes, for less memory and more time
    config.search.accumulation_steps = 1  # parts of a batch that are in memory one at a time
    config.search.attack_steps = 0  # PGD steps on the images of the search; 0 searches on clean images

    config.train = ConfigDict()
    config.train.network = ""  # a name (racl, resnet18, ...) or a genotype's .json file; the searched one if empty
    config.train.initial = placeholder(
        str
    )  # a .keras file, an exported folder or hf://user/name of the same network, whose weights training begins with
    config.train.channels = placeholder(
        int
    )  # of the first nodes or blocks; the network's own (36 of cells) if not given
    config.train.cells = placeholder(int)  # of networks stacked from cells; 20 if not given
    config.train.growth = placeholder(int)  # channels that a layer of densenet121 adds; 32 if not given
    config.train.auxiliary = False  # a second classifier in training, whose loss weighs 0.4
    config.train.drop_path = 0.0  # probability that an operation is dropped
    config.train.drop_path_ramp = False  # as in DARTS, epoch e of E drops with drop_path * (e - 1) / E
    config.train.epochs = 100
    config.train.batch_size = 128
    config.train.learning_rate = 0.1  # cosine to 0 unless there are milestones
    config.train.milestones = ()  # epochs, counted from 1, from whose start on the learning rate is divided by 10
    config.train.momentum = 0.9
    config.train.weight_decay = 3e-4  # coupled L2
    config.train.clip_norm = 5.0
    config.train.defence = "pgd"  # or none, fgsm_rs, free, trades, adp, l2nnn (racl_tf.defences)
    config.train.attack_steps = 7  # PGD steps of the defence; replays of free
    config.train.recompute = False  # as in the search; of networks of cells
    config.train.accumulation_steps = 1  # likewise, of any network
    config.train.held_out = 1000  # training images on which the best epoch is chosen; 0 for none, and the last epoch
    config.train.validation_steps = 10  # PGD steps on them, for defences that train against an attack

    config.evaluate = ConfigDict()
    config.evaluate.model = (
        ""  # a .keras file, an exported folder or hf://user/name; the run's trained network if empty
    )
    config.evaluate.bounds = (0.0, 1.0)  # the model's inputs for black and for white, unless it scales bytes itself
    config.evaluate.attacks = ("fgsm", "mim", "pgd10", "pgd20", "pgd100")  # or autoattack, cw20, square, ...
    config.evaluate.batch_size = 128
    config.evaluate.keep_adversarial = False  # keep an adversarial image of all that fell, for racl-verify
    config.evaluate.corruptions = ""  # a folder of corrupted images in the format of CIFAR-10-C; none if empty
    config.evaluate.corruption_baseline = ""  # a JSON file of a baseline's errors under them; none if empty
    config.evaluate.check_images = 100  # test images on which signs of gradient masking are looked for; 0 for none

    config.export = ConfigDict()
    config.export.formats = ("saved_model",)  # or keras, onnx, litert, torch, each into a folder of its own

    config.sweep = ConfigDict()  # robust accuracy over the radius and over the steps of PGD
    config.sweep.attacks = ("pgd20", "fgsm")  # swept over the radius
    config.sweep.epsilons = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07)
    config.sweep.steps = (1, 2, 5, 10, 20, 50, 100)  # of PGD, at the threat's radius

    config.transfer = ConfigDict()  # attacks crafted on one model and shown to others
    config.transfer.models = ()  # as NAME=PATH, or NAME=PATH@LOW,HIGH with the model's inputs for black and white
    config.transfer.sources = ()  # names of the models that are attacked; all if empty
    config.transfer.attack = "pgd20"

    config.choose = ConfigDict()  # the choice among architectures that the search's distribution draws
    config.choose.samples = 16  # how many are drawn
    config.choose.images = 500  # on which they are tried, of the half that weights were not trained on
    config.choose.attack = "pgd5"  # that they have to stand, with the supernet's weights
    config.choose.top = 0.25  # the share of candidates whose Lipschitz constant is bounded, the most robust ones

    config.study = ConfigDict()  # systems compared over seeds
    config.study.seeds = 5  # how many, from `seed` on
    config.study.jobs = 1  # processes that make its parts at once
    config.study.launcher = "processes"  # or "slurm": jobs of a cluster
    config.study.launcher_options = ()  # of these jobs, NAME=VALUE as submitit names them, such as timeout_min=600
    config.study.shard = ""  # the share of its parts that is made, such as 2/8; all, and the page, if empty
    config.study.variants = ()  # names of what is compared; all if empty
    config.study.attacks = ("fgsm", "pgd20")  # the last one's robust accuracy is compared
    config.study.check = "apgd_t"  # a stronger attack on the best and the median network of each way; none if empty
    config.study.trainings = 0  # of each random cell, to measure what of the spread lies between cells; 0 compares ways
    config.study.cells = 6  # random cells of that
    config.study.lengths = (5, 10)  # epochs of training of that
    return config


def variant_settings(config: ConfigDict, variant: str, changes: Mapping[str, Mapping[str, Any]]) -> ConfigDict:
    """Returns a configuration with the changes of one of its variants.

    Each has another by its side, called "printed" of the first and "NAME-printed" of the others, whose search meets its
    constraint as the paper prints it (`PRINTED`).

    Arguments:
        config: the settings that all variants share.
        variant: the chosen one.
        changes: for each variant its settings by dotted name; an empty mapping for the one without changes.

    Raises:
        UsageError: the variant is unknown.
    """
    printed = {("printed" if index == 0 else f"{name}-printed"): name for index, name in enumerate(changes)}
    if variant not in changes and variant not in printed:
        raise unknown("variant of the configuration", variant, (*changes, *printed))
    config.update_from_flattened_dict(changes[printed.get(variant, variant)])
    if variant in printed:
        config.update_from_flattened_dict(PRINTED)
    return config


def check_settings(config: ConfigDict, prefix: str = "") -> None:
    """Checks the numbers among settings, alone and by data set, before anything is computed.

    Names of networks, attacks and the like are checked where they are looked up.

    Raises:
        UsageError: a number is out of its range, the warm-up leaves no epoch to search in, or a schedule of training
            does not fit its epochs.
    """
    if "search" not in config:
        for name, part in config.items():
            if isinstance(part, ConfigDict):
                check_settings(part, f"{prefix}{name}.")
        return
    if config.strategy not in STRATEGIES:
        raise unknown("strategy", config.strategy, STRATEGIES)
    if math.isnan(config.attack.eps):
        raise UsageError(
            f"No radius is usual on {config.data.name!r} in the norm {config.attack.norm!r}. Give one: --eps=0.5."
        )
    for names, (fits, expected) in _RANGES.items():
        for name in names.split():
            section, _, field = name.rpartition(".")
            value = (config[section] if section else config)[field]
            if isinstance(value, int) and value > _LARGEST:
                raise UsageError(
                    f"{prefix}{name} must be at most {_LARGEST}. Received: {prefix}{name}={shortened(repr(value), 40)}"
                )
            if value is not None and not fits(value):
                raise UsageError(f"{prefix}{name} must be {expected}. Received: {prefix}{name}={value!r}.")
    if config.attack.norm == "l2" and config.attack.eps == 8 / 255:
        raise UsageError(
            f"In L2, a radius of 8/255 changes nothing that can be seen. Give another, such as {prefix}attack.eps=0.5."
        )
    for section in ("search", "train"):
        parts, batch_size = config[section].accumulation_steps, config[section].batch_size
        if parts > batch_size:
            raise UsageError(
                f"{prefix}{section}.accumulation_steps must be at most {section}.batch_size={batch_size}, one image a "
                f"part. Received: {prefix}{section}.accumulation_steps={parts}."
            )
    search = config.search
    given = [name for name in ("node_reduction", "reduction", "target") if search[name] is not None]
    if len(given) > 1:
        received = ", ".join(f"{prefix}search.{name}={search[name]!r}" for name in given)
        raise UsageError(f"The constraint has one target. Give one of these settings alone: {received}.")
    if search.mode != "random" and search.warmup_epochs >= search.epochs:
        raise UsageError(
            f"The architecture is fixed in the warm-up: {prefix}search.warmup_epochs must be below search.epochs. "
            f"Received: {search.warmup_epochs} and {search.epochs}."
        )
    train = config.train
    epochs = (1, *train.milestones, train.epochs + 1)
    if any(type(epoch) is not int for epoch in epochs) or any(map(operator.ge, epochs, epochs[1:])):
        raise UsageError(
            f"{prefix}train.milestones must be epochs in rising order, from 2 to train.epochs={train.epochs}, or () "
            f"for a cosine. Received: {prefix}train.milestones={train.milestones!r}."
        )
    if train.drop_path_ramp and not train.drop_path:
        raise UsageError(
            f"{prefix}train.drop_path_ramp raises the probability to {prefix}train.drop_path, which is 0. Give that "
            f"too, such as {prefix}train.drop_path=0.2."
        )


_LARGEST = 2**31 - 1
_RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "search.channels search.cells search.partial search.epochs search.batch_size search.accumulation_steps "
    "train.channels train.cells train.accumulation_steps train.growth train.epochs train.batch_size "
    "train.attack_steps train.validation_steps "
    "evaluate.batch_size data.train_size data.test_size data.image_size data.max_pixels choose.samples choose.images "
    "study.seeds": (
        lambda value: value > 0,
        "a positive integer",
    ),
    "seed data.crop data.cutout search.warmup_epochs search.attack_steps train.held_out evaluate.check_images": (
        lambda value: value >= 0,
        "an integer of at least 0",
    ),
    "search.learning_rate search.clip_norm search.architecture_learning_rate search.sigma search.rho "
    "search.constraint_step train.learning_rate train.clip_norm attack.eps attack.step_size": (
        lambda value: 0 < value < math.inf,
        "a positive number",
    ),
    "search.weight_decay search.architecture_weight_decay train.weight_decay": (
        lambda value: 0 <= value < math.inf,
        "a number of at least 0",
    ),
    "search.momentum train.momentum train.drop_path": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "study.jobs": (lambda value: value >= 1, "at least 1"),
    "checkpoint.minutes": (lambda value: 0 <= value < math.inf, "a finite number, at least 0"),
    "search.ramp": (lambda value: 0 <= value <= 1, "in [0, 1]"),
    "search.strictness": (lambda value: 0 < value < 1, "between 0 and 1, exclusive"),
    "search.eta": (lambda value: 0.5 <= value < 1, "in [0.5, 1)"),
    "search.reduction search.node_reduction search.target": (math.isfinite, "a finite number"),
}

#: Settings that folders of runs begun before they came do not hold, and what these runs did.
ADDED: Mapping[str, Any] = {
    "deterministic": False,
    "data.max_pixels": 89_478_485,
    "data.in_memory": None,
    "data.cache_dir": None,
    "data.crop": None,
    "data.flip": None,
    "search.constraint_update": "printed",
    "search.constraint_step": 1.0,
    "search.node_reduction": None,
    "search.strictness": 0.2,
    "search.ramp": 0.5,
    "search.recompute": False,
    "search.accumulation_steps": 1,
    "train.recompute": False,
    "train.accumulation_steps": 1,
    "train.milestones": (),
    "train.drop_path_ramp": False,
    "evaluate.keep_adversarial": False,
    "evaluate.corruptions": "",
    "evaluate.corruption_baseline": "",
}

#: Settings of how data is read, which change nothing of what is read.
READING = ("data.data_dir", "data.max_pixels", "data.in_memory", "data.cache_dir")

#: The constraint to the paper's letter: one Adam on the sum of the loss and the penalty, the dual variable at the old
#: point, norms of kernels alone, a target fixed once. It oscillates, and what it chooses is next to nothing.
PRINTED: Mapping[str, Any] = {
    "search.constraint_update": "printed",
    "search.reduction": 6.0,
    "search.form": "equality",
    "search.norms_batch_norm": False,
}

#: The recipe by which authors of the paper trained RACL's cell again for a later one (Cheng et al., Neural Architecture
#: Search for Wide Spectrum Adversarial Robustness, AAAI 2023), from the code of Wsr-NAS. It has no auxiliary head,
#: cutout or drop path either, and the same momentum and clip norm. Its steps are of 2.5 eps / 7.
WSR: Mapping[str, Any] = {
    "attack.eps": 0.031,
    "attack.step_size": 2.5 * 0.031 / 7,
    "train.epochs": 200,
    "train.milestones": (100, 150),
    "train.batch_size": 64,
    "train.weight_decay": 1e-4,
    "train.held_out": 0,
}

#: What differs between data sets.
DATASETS: Mapping[str, Mapping[str, Any]] = {
    "cifar10": {},
    "cifar100": {"data.name": "cifar100"},
    "mnist": {"data.name": "mnist", "attack.eps": 76.5 / 255, "attack.step_size": 20 / 255},
    "digits": {
        "data.name": "digits",
        "data.train_size": None,
        "data.test_size": None,
        "attack.eps": 0.1,
        "attack.step_size": 0.025,
    },
}

_L2_EPS: Mapping[str, float] = {"cifar10": 0.5, "cifar100": 0.5, "mnist": 2.0, "digits": 0.5}


def usual_threat(name: str, norm: str) -> float:
    """Returns the radius by which robustness on a data set is usually measured: in L-infinity, 8/255 if not known.

    In L2 it is NaN if not known, since it depends on the size of images.

    >>> usual_threat("mnist", "linf") * 255, usual_threat("cifar10", "l2")
    (76.5, 0.5)
    """
    if norm == "l2":
        return _L2_EPS.get(name, math.nan)
    return DATASETS.get(name, {}).get("attack.eps", 8 / 255)


#: Two CPU cores: a smaller supernet and network, fewer images and epochs. With fewer steps, mu needs a larger
#: learning rate to move as far, and theta a larger rho.
CPU: Mapping[str, Any] = {
    "data.train_size": 10000,
    "data.test_size": 1000,
    "search.cells": 5,
    "search.epochs": 8,
    "search.warmup_epochs": 2,
    "search.batch_size": 64,
    "search.architecture_learning_rate": 6e-3,
    "search.rho": 1e-2,
    "train.channels": 16,
    "train.cells": 5,
    "train.growth": 8,
    "train.epochs": 10,
    "train.batch_size": 64,
    "train.held_out": 500,
}

#: Every step once, to see that all is in place.
SMOKE: Mapping[str, Any] = {
    "data.train_size": 512,
    "data.test_size": 64,
    "search.channels": 4,
    "search.cells": 3,
    "search.epochs": 2,
    "search.warmup_epochs": 1,
    "search.batch_size": 32,
    "train.channels": 4,
    "train.cells": 3,
    "train.growth": 4,
    "train.epochs": 1,
    "train.batch_size": 32,
    "train.held_out": 64,
    "evaluate.attacks": ("fgsm", "pgd10"),
    "evaluate.batch_size": 64,
    "choose.samples": 4,
    "choose.images": 32,
}
