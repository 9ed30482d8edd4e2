"""The quickstart: all steps of a run, one after the other."""

import logging
from typing import NamedTuple

from ml_collections import ConfigDict

from racl_tf.distribution import WORKERS
from racl_tf.evaluation import Evaluation, MaskingReport
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.runs.export import Exported, run_export
from racl_tf.runs.search import run_search
from racl_tf.runs.train import run_training
from racl_tf.space import Genotype

_LOGGER = logging.getLogger(__name__)


class Quickstart(NamedTuple):
    """What a quickstart made.

    Arguments:
        genotype: the searched architecture.
        evaluation: of the trained network.
        masking: signs of gradient masking; None if they were not looked for.
        exports: of the network, by format.
    """

    genotype: Genotype
    evaluation: Evaluation
    masking: MaskingReport | None
    exports: dict[str, Exported]


def run_quickstart(config: ConfigDict, workdir: str) -> Quickstart:
    """Searches, trains, attacks and exports a network in `workdir`, as far as that is not done."""
    _LOGGER.info(
        "Quickstart in %s: a search, a training, an evaluation and an export, one after the other. What is finished is "
        "kept, so that the same command goes on.",
        workdir,
    )
    genotype = run_search(config, workdir)
    run_training(config, workdir)
    evaluation, masking = run_evaluation(config, workdir)
    return Quickstart(genotype, evaluation, masking, run_export(config, workdir) if WORKERS.is_chief else {})
