"""The evaluation of a run: attacks on one model, and a look for signs of gradient masking."""

import itertools

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import Classifier, make_attack
from racl_tf.errors import UsageError
from racl_tf.evaluation import (
    Evaluation,
    MaskingReport,
    check_for_masking,
    evaluate,
    load_classifier,
)
from racl_tf.files import read_json, write_json
from racl_tf.runs.common import load_data
from racl_tf.runs.folder import StepFolder, network_path


def run_evaluation(config: ConfigDict, workdir: str) -> tuple[Evaluation, MaskingReport | None]:
    """Attacks a model on the test set and looks for signs of gradient masking.

    Writes outcomes.npz and results.json to `workdir/evaluate`.
    """
    settings, threat = config.evaluate, config.attack
    if not settings.attacks:
        raise UsageError("There is nothing to attack by. Give --attacks=fgsm,pgd20, or leave it out for all.")
    model = load_attacked_model(config, workdir)
    step = StepFolder(workdir, file_names.EVALUATE, config, ("attack", "evaluate"))
    attacks = {name: make_attack(name, threat.eps, threat.step_size, threat.norm) for name in settings.attacks}
    test = load_data(config).test
    classes = model.check(test.images([0]), test.y)
    for attack in itertools.chain(*attacks.values()):
        attack.check_classes(classes)
    folder = step.begin()
    options = {"batch_size": settings.batch_size, "seed": config.seed}
    evaluation = evaluate(model, test, attacks, folder=folder, **options)
    results, masking, digest = folder / file_names.RESULTS, None, model.digest(test.images([0]))
    found = read_json(results) if results.exists() else {}
    if found.get("digest") == digest:
        return evaluation, MaskingReport.from_dict(found["masking"]) if found.get("masking") else None
    if settings.check_images:
        masking = check_for_masking(
            model, test, eps=threat.eps, norm=threat.norm, images=settings.check_images, **options
        )
    attacked = settings.model or f"{file_names.TRAIN}/{file_names.BEST_NETWORK}"
    record = {"dataset": config.data.name, "model": attacked, "digest": digest, **evaluation.to_dict()}
    write_json(results, record | ({"masking": masking.to_dict()} if masking else {}))
    return evaluation, masking


def load_attacked_model(config: ConfigDict, workdir: str) -> Classifier:
    """Returns the model that is evaluated: a given one, or the network that was trained in `workdir`."""
    settings = config.evaluate
    return load_classifier(settings.model or network_path(workdir), bounds=settings.bounds)
