"""Sampling architectures from a search's distribution, of which the most robust can be taken (Section 2.3).

A search ends with a distribution of architectures, of which the median selects one. How sure that selection is shows in
what other draws select; and of all that are drawn, the most robust one can be taken.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from racl_tf.attacks import Attack, Classifier
from racl_tf.attacks.attack import is_positive_integer
from racl_tf.errors import UsageError
from racl_tf.evaluation.chance import chance_level
from racl_tf.evaluation.robustness import evaluate
from racl_tf.evaluation.task import prepare_task
from racl_tf.layers.batch_norm import MOMENTUM
from racl_tf.lipschitz.bounds import LipschitzPair, steepest_slope, upper_bound
from racl_tf.networks.supernet import Supernet
from racl_tf.search.architecture import Architecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.search.sampling_result import SampledArchitecture, SamplingResult, operations_of
from racl_tf.seeding import fold
from racl_tf.space import OPERATIONS, Genotype, select_genotype

if TYPE_CHECKING:
    from racl_tf.evaluation.task import Data

_LOGGER = logging.getLogger(__name__)
_BATCH = 128  # images whose statistics are measured at once: another number would make another network


def sample_architectures(
    search: RACLSearch,
    data: Data,
    *,
    attack: Attack,
    samples: int = 16,
    top: float = 0.25,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> SamplingResult:
    """Returns the most robust of the architectures that a search's distribution draws, and how far draws agree.

    Every distinct architecture that is drawn, and the one that the medians select, is tried with the supernet's
    weights (see `DiscreteSupernet`). They are ranked by robust accuracy; equal ones by the lower and then the upper
    bound of the Lipschitz constant, the smaller the better. The search itself is not changed.

    Where the most robust one does no better than chance, a warning says that the ranking means nothing.

    All of this is a proxy: what an architecture is worth once it is trained on its own, only training tells. And
    images on which one of many was found best flatter it.

    Arguments:
        search: a trained search.
        data: images and labels that its weights were not trained on.
        attack: that architectures are tried under, for example a short one, `pgd(8 / 255, 2 / 255, 5)`.
        samples: number of architectures drawn.
        top: the share of architectures, in (0, 1], whose Lipschitz constant is bounded: the most robust ones, at
            least one, and those that are as robust as the last of them.
        batch_size: number of images attacked at once.
        seed: of the draws and the attack's noise.
        progress: whether to show a bar.

    Raises:
        UsageError: for something else than a search, one that has diverged, data or an attack that cannot be
            evaluated, or a number out of its range.
    """
    _check(search, attack, samples, top)
    genotypes = draw_genotypes(search.architecture, samples, seed=seed)
    median = search.genotype()
    drawn = Counter(map(_key, genotypes))
    distinct: dict[bytes, Genotype] = {}
    for genotype in (median, *genotypes):
        distinct.setdefault(_key(genotype), genotype)
    supernet = DiscreteSupernet(search)
    task = prepare_task(supernet.classifier, data, batch_size=batch_size)
    images = task.images(np.arange(len(task.labels)))
    sampled = []
    for key, genotype in tqdm(distinct.items(), desc="architectures", disable=not progress):
        supernet.adopt(genotype, images)
        count = evaluate(
            supernet.classifier, data, {"attack": attack}, batch_size=batch_size, seed=seed, progress=False
        ).count
        sampled.append(SampledArchitecture(genotype, drawn[key], key == _key(median), count("clean"), count("attack")))
    sampled.sort(key=_rank)
    enough = sampled[math.ceil(top * len(sampled)) - 1].robust
    for index in tqdm(range(sum(one.robust >= enough for one in sampled)), desc="bounds", disable=not progress):
        supernet.adopt(sampled[index].genotype, images)
        sampled[index] = replace(sampled[index], bounds=supernet.bounds(images, batch_size=batch_size))
    sampled.sort(key=_rank)
    if sampled[0].robust <= chance_level(task.classes, len(images)) * len(images):
        _LOGGER.warning(
            "The most robust architecture withstands on %.1f%% of %d images and is right on %.1f%% of them clean, no "
            "better than chance in %d classes, so that their order means nothing. Search for more epochs, or try "
            "architectures by a weaker attack or a smaller eps.",
            100 * sampled[0].robust / len(images),
            len(images),
            100 * sampled[0].clean / len(images),
            task.classes,
        )
    return SamplingResult(tuple(sampled), operation_shares(genotypes), samples, len(images), attack, seed)


def draw_genotypes(architecture: Architecture, samples: int, *, seed: int = 0) -> list[Genotype]:
    """Returns the genotypes that independent draws of alpha * beta select.

    Arguments:
        architecture: the distribution; without a sigma all draws are equal.
        samples: their number.
        seed: of the draws.
    """
    alpha, beta = tf.map_fn(  # eagerly: a graph of its own for every call would be traced longer than this takes
        lambda index: architecture(fold(seed, "confidence", index)),
        tf.range(samples),
        fn_output_signature=(tf.float32, tf.float32),
    )
    return [select_genotype(scores) for scores in (alpha * beta[..., None]).numpy()]


def operation_shares(genotypes: Sequence[Genotype]) -> np.ndarray:
    """Returns the share of genotypes that have each operation on each edge (2, 14, 8), none where it is left out."""
    return np.mean([np.eye(len(OPERATIONS))[operations_of(genotype)] for genotype in genotypes], axis=0)


class DiscreteSupernet:
    """A copy of a search's supernet that is one architecture at a time.

    On the edges that an architecture keeps, its operations and the edges themselves have their median weights, all
    other weights are 0. The medians are what the supernet's weights were trained around and, unlike the weights of a
    draw, are the same whenever an architecture is drawn. Then moving statistics, those of the whole mixture, fit no
    longer: they are measured anew on the given images, batch by batch, and averaged. So the network still treats each
    image on its own, as attacks and Lipschitz constants need, which normalising by the batch that an image happens to
    be in would not.

    Arguments:
        search: whose weights are copied.
    """

    def __init__(self, search: RACLSearch) -> None:
        self._network = Supernet.from_config(search.supernet.get_config())
        self._network.set_weights(search.supernet.get_weights())
        self._medians = [weights.numpy() for weights in search.architecture.median()]
        self._weights = [tf.Variable(median, trainable=False) for median in self._medians]
        self.classifier = Classifier(lambda x: self._logits(x, training=False))
        self.classifier.said.add("near chance")  # of the mixture and of each: it is said of the best one alone
        image = tf.TensorSpec([None, *self._network.image_shape])
        self._update = tf.function(lambda x: self._logits(x, training=True), [image], autograph=False)

    def _logits(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:
        return self._network(x, *map(tf.convert_to_tensor, self._weights), training=training)

    def adopt(self, genotype: Genotype, images: np.ndarray, *, batch_size: int = _BATCH) -> None:
        """Becomes an architecture, normalised by statistics of images, float32 (N, height, width, channels)."""
        kept = np.eye(len(OPERATIONS), dtype=np.float32)[operations_of(genotype)] * (np.arange(len(OPERATIONS)) > 0)
        for weights, median, mask in zip(self._weights, self._medians, (kept, kept.sum(-1)), strict=True):
            weights.assign(median * mask)
        statistics = self._network.non_trainable_variables  # the moving ones are all that is not trained
        sums = [np.zeros(variable.shape) for variable in statistics]
        batches = np.array_split(images, math.ceil(len(images) / batch_size))
        for batch in batches:
            for variable in statistics:  # a pass in training moves them by 1 - MOMENTUM from 0 to the batch's
                variable.assign(tf.zeros(variable.shape))
            self._update(batch)
            sums = [total + len(batch) * variable.numpy() for total, variable in zip(sums, statistics, strict=True)]
        for variable, total in zip(statistics, sums, strict=True):
            variable.assign(total / (len(images) * (1 - MOMENTUM)))

    def bounds(self, images: np.ndarray, *, batch_size: int = 128) -> LipschitzPair:
        """Returns bounds of the Lipschitz constant of the current architecture."""
        alpha, beta = (weights.numpy() for weights in self._weights)
        lower = steepest_slope(self.classifier, images, batch_size=batch_size)
        return LipschitzPair(lower, upper_bound(self._network, alpha=alpha, beta=beta))


def _key(genotype: Genotype) -> bytes:
    return operations_of(genotype).tobytes()


def _rank(sampled: SampledArchitecture) -> tuple[float, ...]:
    bounds = sampled.bounds
    return (-sampled.robust, *((math.inf, math.inf) if bounds is None else (bounds.lower, bounds.upper)))


def _check(search: object, attack: object, samples: object, top: float) -> None:
    if not isinstance(search, RACLSearch):
        raise UsageError(f"Architectures are drawn from a RACLSearch. Received: {type(search).__name__}.")
    if not isinstance(attack, Attack):
        raise UsageError(f"`attack` must be an attack, such as pgd(8 / 255, 2 / 255, 5). Received: {attack!r}.")
    if not is_positive_integer(samples):
        raise UsageError(f"`samples` must be a positive integer. Received: samples={samples!r}.")
    if not 0 < top <= 1:
        raise UsageError(f"`top` must be a share of the architectures, in (0, 1]. Received: top={top!r}.")
