"""The transfer of a run: images crafted on some models and shown to others."""

import logging
import re

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import Classifier, make_attack
from racl_tf.errors import UsageError, unknown
from racl_tf.evaluation import (
    Transfer,
    load_classifier,
    transfer,
)
from racl_tf.files import write_json, write_text
from racl_tf.reporting import plot_transfer
from racl_tf.runs.common import bars_are_shown, describe_threat, load_data, provenance
from racl_tf.runs.evaluate import given_bounds
from racl_tf.runs.folder import StepFolder, one_writer

_LOGGER = logging.getLogger(__name__)


@one_writer
def run_transfer(config: ConfigDict, workdir: str) -> Transfer:
    """Shows images crafted on some models to all, and writes the figures and a picture to `workdir/transfer`."""
    settings, threat = config.transfer, config.attack
    step = StepFolder(workdir, file_names.TRANSFER, config, ("attack", "evaluate", "transfer"))
    plan = make_attack(settings.attack, threat.eps, threat.step_size, threat.norm)
    if len(plan) > 1:
        raise UsageError(f"Transfer is by one attack, not by the ensemble {settings.attack!r}. Try pgd20 or mim.")
    models = _models(settings.models, given_bounds(config))
    for name in settings.sources:
        if name not in models:
            raise unknown("source", name, models)
    sources = {name: models[name] for name in settings.sources or models}
    test = load_data(config).test
    folder = step.begin()
    _LOGGER.info(
        "Transfer on %s: %d test images are crafted on %s by %s, %s, and shown to %s.",
        config.data.name,
        len(test),
        ", ".join(sources),
        settings.attack,
        describe_threat(config),
        ", ".join(models),
    )
    result = transfer(
        sources,
        models,
        test,
        plan[0],
        batch_size=config.evaluate.batch_size,
        seed=config.seed,
        progress=bars_are_shown(),
    )
    result.save(folder / file_names.TRANSFER_TABLE)
    write_text(folder / file_names.TRANSFER_PAGE, result.markdown())
    write_json(folder / file_names.RESULTS, provenance(config) | {"models": list(settings.models), **result.to_dict()})
    plot_transfer(result, folder / file_names.TRANSFER_PICTURE)
    return result


def _models(named: tuple[str, ...], bounds: tuple[float, float] | None) -> dict[str, Classifier]:
    """Returns the classifiers of NAME=PATH or NAME=PATH@LOW,HIGH; `bounds` are those of models without their own."""
    if not named:
        raise UsageError("There are no models to compare. Give --models=NAME=PATH,NAME=PATH.")
    models = {}
    for text in named:
        match = re.fullmatch(r"([^=]+)=(.+?)(?:@([^@,]+),([^@,]+))?", text)
        if not match or match[1] in models:
            raise UsageError(
                f"Models are named once each, as NAME=PATH or NAME=PATH@LOW,HIGH. Received: {', '.join(named)}."
            )
        try:
            own = (float(match[3]), float(match[4])) if match[3] else bounds
        except ValueError:
            raise UsageError(
                f"Bounds of a model are two numbers, as in {match[1]}=PATH@0,255. Received: {text}."
            ) from None
        models[match[1]] = load_classifier(match[2], bounds=own)
    return models
