"""The evaluation of a run: attacks on one model, and a look for signs of gradient masking."""

import itertools
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import Classifier, make_attack
from racl_tf.data import ImageSet
from racl_tf.distribution import WORKERS
from racl_tf.errors import UsageError
from racl_tf.evaluation import (
    CorruptedImages,
    CorruptionErrors,
    Evaluation,
    EvaluationBundle,
    MaskingReport,
    check_for_masking,
    evaluate,
    evaluate_corruptions,
    find_adversarial_images,
    load_classifier,
    make_bundle,
    read_baseline,
    read_corruptions,
)
from racl_tf.evaluation.chance import chance_warning
from racl_tf.evaluation.results import WORST_CASE
from racl_tf.files import as_path, damaged, read_json, write_json, write_table
from racl_tf.runs.common import bars_are_shown, describe_threat, distributed, load_data, provenance
from racl_tf.runs.folder import StepFolder, network_path, one_writer

_LOGGER = logging.getLogger(__name__)


@distributed
@one_writer
def run_evaluation(config: ConfigDict, workdir: str) -> tuple[Evaluation, MaskingReport | None]:
    """Attacks a model on the test set and looks for signs of gradient masking.

    Writes outcomes.npz, adversarial.npz, results.json and, of images from files, images.csv to `workdir/evaluate`;
    with `evaluate.keep_adversarial` also bundle/, which `verify_bundle` recounts, and with
    `evaluate.corruptions` corruptions.csv.
    For a model near chance such signs mean nothing, so that they are not looked for.
    """
    settings, threat = config.evaluate, config.attack
    if not settings.attacks:
        raise UsageError("There is nothing to attack by. Give --attacks=fgsm,pgd20, or leave it out for all.")
    model = load_attacked_model(config, workdir)
    step = StepFolder(workdir, file_names.EVALUATE, config, ("attack", "evaluate"))
    attacks = {name: make_attack(name, threat.eps, threat.step_size, threat.norm) for name in settings.attacks}
    test = load_data(config).test
    corrupted, baseline = _corruptions(config)
    classes = model.check(test.images([0]), test.y)
    for attack in itertools.chain(*attacks.values()):
        attack.check_classes(classes)
    folder, attacked = step.begin(), settings.model or f"{file_names.TRAIN}/{file_names.BEST_NETWORK}"
    announce("Evaluation", attacked, model, config, test, ", ".join(attacks))
    options = {
        "batch_size": settings.batch_size,
        "seed": config.seed,
        "progress": bars_are_shown() and WORKERS.is_chief,
    }
    evaluation = evaluate(model, test, attacks, folder=folder, **options)
    results, masking, digest = folder / file_names.RESULTS, None, model.digest(test.images([0]))
    found = _found_before(results) if results.exists() else _Found("", None, None)
    if found.digest == digest:
        masking = found.masking
    elif settings.check_images and chance_warning(evaluation.labels, evaluation.predictions, evaluation.classes):
        _LOGGER.warning("Signs of gradient masking are not looked for: of a model near chance they mean nothing.")
    elif settings.check_images:
        _LOGGER.info("Signs of gradient masking are looked for on %d images.", min(settings.check_images, len(test)))
        masking = check_for_masking(
            model, test, eps=threat.eps, norm=threat.norm, images=settings.check_images, **options
        )
    if not WORKERS.is_chief:
        return evaluation, masking
    corruptions = found.corruptions if found.digest == digest else None
    if corrupted is not None and corruptions is None:
        _LOGGER.info("Corruptions: %s; %d images of each.", ", ".join(corrupted.images), len(corrupted.labels))
        shown = {"batch_size": settings.batch_size, "progress": bars_are_shown()}
        corruptions = evaluate_corruptions(model, corrupted, baseline=baseline, **shown)
        corruptions.save(folder / file_names.CORRUPTIONS)
    if not (folder / file_names.ADVERSARIAL).exists():
        adversarial = find_adversarial_images(model, test, evaluation, batch_size=settings.batch_size)
        if adversarial is not None:
            adversarial.save(folder / file_names.ADVERSARIAL)
    if test.files is not None:
        write_table(folder / file_names.IMAGES, outcomes_by_file(evaluation, test.files, load_data(config).class_names))
    record = provenance(config, model=attacked, digest=digest) | {"class_names": list(load_data(config).class_names)}
    record |= evaluation.to_dict()
    record |= {"masking": masking.to_dict()} if masking else {}
    record |= {"corruptions": corruptions.to_dict()} if corruptions else {}
    write_json(results, record)
    if settings.keep_adversarial and not (folder / file_names.BUNDLE / file_names.CHECKSUMS).exists():
        _keep_bundle(make_bundle(model, test, evaluation, batch_size=settings.batch_size), folder, record, evaluation)
    return evaluation, masking


def _keep_bundle(
    bundle: EvaluationBundle, folder: pathlib.Path, record: Mapping[str, Any], evaluation: Evaluation
) -> None:
    bundle.save(folder / file_names.BUNDLE, record)
    if missing := evaluation.count("clean") - evaluation.count(WORST_CASE) - len(bundle.index):
        _LOGGER.warning(
            "%d adversarial images were not found again, as of a model that is random or by rounding: racl-verify will "
            "name them.",
            missing,
        )


def outcomes_by_file(evaluation: Evaluation, files: Sequence[str], class_names: Sequence[str]) -> list[dict[str, str]]:
    """Returns a row for each image: its file, its class, the predicted one, and for each attack whether it is robust.

    Images that are misclassified clean have no entry for the attacks, which were not made on them.

    Arguments:
        evaluation: of the images.
        files: that they are from, in the same order.
        class_names: in the order of the labels; a model may have more classes.
    """
    names = [*class_names, *map(str, range(len(class_names), evaluation.classes))]
    words = {
        name: np.where(evaluation.clean, np.where(found.is_robust, "robust", "adversarial"), "")
        for name, found in evaluation.outcomes.items()
    }
    return [
        {"file": file, "class": names[evaluation.labels[index]], "predicted": names[evaluation.predictions[index]]}
        | {name: str(column[index]) for name, column in words.items()}
        for index, file in enumerate(files)
    ]


class _Found(NamedTuple):
    """What an evaluation before this one found: the digest of its model, signs of masking, errors under corruptions."""

    digest: str
    masking: MaskingReport | None
    corruptions: CorruptionErrors | None


def corruption_errors(workdir: str) -> CorruptionErrors | None:
    """Returns the errors under corruptions that the evaluation in `workdir` found; None if it was shown none."""
    return _found_before(as_path(workdir) / file_names.EVALUATE / file_names.RESULTS).corruptions


def _corruptions(config: ConfigDict) -> tuple[CorruptedImages | None, Mapping[str, tuple[float, ...]] | None]:
    """Returns the corrupted images and the baseline's errors that are configured."""
    folder, baseline = config.evaluate.corruptions, config.evaluate.corruption_baseline
    if not folder:
        if baseline:
            raise UsageError(
                "A baseline's errors are of no use without corrupted images. Give --corruptions=FOLDER too."
            )
        return None, None
    corrupted = read_corruptions(folder)
    return corrupted, read_baseline(baseline, corrupted) if baseline else None


def _found_before(results: pathlib.Path) -> _Found:
    """Returns what results.json holds of an evaluation before.

    Raises:
        UsageError: it is damaged.
    """
    record = read_json(results)
    try:
        masking = MaskingReport.from_dict(record["masking"]) if "masking" in record else None
        if masking is not None and (str(masking) == "" or masking.to_dict() != record["masking"]):
            raise ValueError("the verdicts are not those of the figures")
        corruptions = CorruptionErrors.from_dict(record["corruptions"]) if "corruptions" in record else None
        if corruptions is not None and corruptions.to_dict() != record["corruptions"]:
            raise ValueError("the means over corruptions are not those of the figures")
        return _Found(str(record.get("digest", "")), masking, corruptions)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise damaged(results, f"it holds no results ({error})") from None


def load_attacked_model(config: ConfigDict, workdir: str) -> Classifier:
    """Returns the model that is evaluated: a given one, or the network that was trained in `workdir`."""
    settings = config.evaluate
    return load_classifier(settings.model or network_path(workdir), bounds=given_bounds(config))


def announce(what: str, name: str, model: Classifier, config: ConfigDict, test: ImageSet, attacks: str) -> None:
    """Says what is attacked, on what and by what, before it begins."""
    _LOGGER.info(
        "%s of %s, shown inputs from %g to %g, on %s: %d test images; %s, %s. The first batch is compiled, which takes "
        "a while.",
        what,
        name,
        *model.bounds,
        config.data.name,
        len(test),
        attacks,
        describe_threat(config),
    )


def given_bounds(config: ConfigDict) -> tuple[float, float] | None:
    """Returns the configured bounds of models' inputs; None for (0, 1), where a model may show others by itself."""
    return None if config.evaluate.bounds == (0, 1) else config.evaluate.bounds
