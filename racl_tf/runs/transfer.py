"""The transfer of a run: images crafted on some models and shown to others."""

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
from racl_tf.runs.common import load_data
from racl_tf.runs.folder import StepFolder


def run_transfer(config: ConfigDict, workdir: str) -> Transfer:
    """Shows images crafted on some models to all, and writes the figures and a picture to `workdir/transfer`."""
    settings, threat = config.transfer, config.attack
    step = StepFolder(workdir, file_names.TRANSFER, config, ("attack", "evaluate", "transfer"))
    plan = make_attack(settings.attack, threat.eps, threat.step_size, threat.norm)
    if len(plan) > 1:
        raise UsageError(f"Transfer is by one attack, not by the ensemble {settings.attack!r}. Try pgd20 or mim.")
    models = _models(settings.models, config.evaluate.bounds)
    for name in settings.sources:
        if name not in models:
            raise unknown("source", name, models)
    sources = {name: models[name] for name in settings.sources or models}
    test = load_data(config).test
    folder = step.begin()
    result = transfer(sources, models, test, plan[0], batch_size=config.evaluate.batch_size, seed=config.seed)
    result.save(folder / file_names.TRANSFER_TABLE)
    write_text(folder / file_names.TRANSFER_PAGE, result.markdown())
    write_json(folder / file_names.RESULTS, {"models": list(settings.models), **result.to_dict()})
    plot_transfer(result, folder / file_names.TRANSFER_PICTURE)
    return result


def _models(named: tuple[str, ...], bounds: tuple[float, float]) -> dict[str, Classifier]:
    if not named:
        raise UsageError("There are no models to compare. Give --models=NAME=PATH,NAME=PATH.")
    models = {}
    for text in named:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in models:
            raise UsageError(f"Models are named once each, as NAME=PATH. Received: {', '.join(named)}.")
        models[name] = load_classifier(path, bounds=bounds)
    return models
