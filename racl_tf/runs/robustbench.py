"""The entry of an evaluation in RobustBench (Croce et al., 2020, arXiv 2010.09670), or why there is none."""

import pathlib
from collections.abc import Mapping
from typing import Any

from racl_tf import file_names
from racl_tf.attacks import autoattack
from racl_tf.defences import make_defence
from racl_tf.errors import UsageError
from racl_tf.files import damaged, read_json, write_json
from racl_tf.reporting import RunRecord, find_runs
from racl_tf.tables import format_radius

TEST_IMAGES = {"cifar10": 10000, "cifar100": 10000}
"""The data sets that the leaderboard has of those that this library loads, and how many test images they have."""

THREATS = {("cifar10", "linf"): 8 / 255, ("cifar10", "l2"): 0.5, ("cifar100", "linf"): 8 / 255}
"""The radius, in units of pixels in [0, 1], of every data set and norm that the leaderboard has."""

BY_HAND = ("link", "name", "authors", "venue")
"""What the entry says of the paper, which no file of a run knows."""

#: Checks of masking that look for what the leaderboard excludes, and the rule that each is about.
_EXCLUDED = {
    "zero gradients": "gradients by the image must not be zero in general",
    "randomness": "the forward pass must be deterministic",
}


def write_robustbench(workdir: str, out: str | None = None) -> tuple[pathlib.Path, list[str]]:
    """Writes the entry of a run's evaluation as JSON and returns the file's path and the fields to fill in by hand.

    Arguments:
        workdir: the folder of the run or of its evaluation.
        out: the file; robustbench.json in the evaluation's folder if not given.

    Raises:
        UsageError: the evaluation does not fulfil the leaderboard's rules or is damaged, or the file is there and
            holds something else, such as an entry that was filled in.
    """
    runs = find_runs([workdir])
    if len(runs) > 1 or file_names.EVALUATE not in runs[0].steps:
        raise UsageError(f"The folder {workdir!r} holds no single evaluation. Give the --workdir of a racl-evaluate.")
    try:
        unmet = unmet_rules(runs[0])
        entry = {} if unmet else robustbench_entry(runs[0])
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged(runs[0].steps[file_names.EVALUATE] / file_names.RESULTS, repr(error)) from None
    if unmet:
        raise UsageError(f"This evaluation is none for RobustBench: {'; '.join(unmet)}.")
    path = pathlib.Path(out or runs[0].steps[file_names.EVALUATE] / file_names.ROBUSTBENCH).expanduser()
    if path.exists() and (not path.is_file() or read_json(path) != entry):
        raise UsageError(f"{str(path)!r} is there and holds something else. Give another file by --out, or remove it.")
    try:
        write_json(path, entry)
    except OSError as error:
        raise UsageError(f"The entry cannot be written: {error}. Give another file by --out.") from None
    return path, [name for name, value in entry.items() if value in ("", None)]


def unmet_rules(run: RunRecord) -> list[str]:
    """Returns the leaderboard's rules that a run's evaluation does not fulfil, each with what was found instead.

    The rules are: a data set and a radius that it has, the entire test set as it is, the standard version of
    AutoAttack, gradients that are not zero, and a deterministic forward pass. That nothing is optimised in the forward
    pass is not seen from outside.

    Arguments:
        run: with an evaluation.
    """
    record, settings = _results(run), run.settings()
    dataset, norm, eps = (record.get(name) for name in ("dataset", "norm", "eps"))
    unmet = []
    if dataset not in TEST_IMAGES:
        unmet.append(f"the data set must be {' or '.join(TEST_IMAGES)}, and is {dataset!r}")
    elif record.get("images") != TEST_IMAGES[dataset]:
        unmet.append(
            f"the entire test set of {TEST_IMAGES[dataset]} images must be attacked, and {record.get('images')} were"
        )
    if settings.get("data.image_size") is not None:
        unmet.append(f"images must be as they are, and were resized to {settings['data.image_size']}")
    radius = THREATS.get((str(dataset), str(norm)))
    if dataset in TEST_IMAGES and (radius is None or not isinstance(eps, float) or abs(eps - radius) > 1e-9):
        known = ", ".join(f"{way} {format_radius(value)}" for (name, way), value in THREATS.items() if name == dataset)
        unmet.append(f"the ball must be {known.replace(', ', ' or ')}, and is {norm} {eps:.4g}")
    if _autoattack(record) is None:
        made = ", ".join(name for name in record.get("results", {}) if name not in ("clean", "worst_case")) or "nothing"
        unmet.append(f"the attack must be the standard AutoAttack (--attacks=autoattack), and {made} was made")
    masking = record.get("masking")
    if not masking:
        unmet.append("signs of gradient masking must have been looked for (evaluate.check_images)")
    else:
        verdicts = {row["name"]: row["verdict"] for row in masking["findings"]}
        unmet += [rule for name, rule in _EXCLUDED.items() if verdicts.get(name) == "suspicious"]
    return unmet


def robustbench_entry(run: RunRecord) -> dict[str, Any]:
    """Returns the entry of an evaluation that fulfils the rules, as the leaderboard's `model_info` has it.

    What of the paper has to be filled in is "", and whether additional data was used is None of a model that the run
    did not train from scratch.

    Arguments:
        run: with an evaluation.
    """
    record, settings = _results(run), run.settings()
    attacked = _autoattack(record)
    assert attacked is not None
    own = not settings.get("evaluate.model") and not settings.get("train.initial") and file_names.TRAIN in run.steps
    robust = f"{100 * attacked['accuracy']:.2f}"
    return dict.fromkeys(BY_HAND[:3], "") | {
        "additional_data": False if own else None,
        "number_forward_passes": _members(settings) if own else 1,
        "dataset": record["dataset"],
        "venue": "",
        "architecture": _architecture(run, settings),
        "eps": format_radius(record["eps"]),
        "clean_acc": f"{100 * record['results']['clean']['accuracy']:.2f}",
        "reported": robust,
        "autoattack_acc": robust,
        "unreliable": any(row["verdict"] == "suspicious" for row in record["masking"]["findings"]),
    }


def _results(run: RunRecord) -> dict[str, Any]:
    path = run.steps[file_names.EVALUATE] / file_names.RESULTS
    if not path.is_file():
        raise UsageError("The evaluation is not finished. Run racl-evaluate with this --workdir to its end.")
    record = read_json(path)
    return record if isinstance(record, dict) else {}


def _autoattack(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the figures of the standard AutoAttack at the evaluation's own radius; None if it was not made."""
    eps, norm = record.get("eps"), record.get("norm")
    if not isinstance(eps, float) or not isinstance(norm, str):
        return None
    expected = [attack.to_dict() for attack in autoattack(eps, norm)]
    for figures in record.get("results", {}).values():
        made = [
            {key: value for key, value in row.items() if key != "correct_after"} for row in figures.get("attacks", ())
        ]
        if made == expected:
            return figures
    return None


def _members(settings: Mapping[str, Any]) -> int:
    threat = {name: settings[f"attack.{name}"] for name in ("eps", "step_size", "norm")}
    return make_defence(settings["train.defence"], steps=settings["train.attack_steps"], **threat).members


def _architecture(run: RunRecord, settings: Mapping[str, Any]) -> str:
    """Returns the name of the network: of cells with how many there are and how wide."""
    if model := settings.get("evaluate.model"):
        return pathlib.Path(model).stem
    network = settings.get("train.network", "")
    if (run.steps.get(file_names.TRAIN, pathlib.Path()) / file_names.GENOTYPE).is_file():
        name = "searched cell" if not network else pathlib.Path(network).stem
        cells, channels = settings.get("train.cells") or 20, settings.get("train.channels") or 36
        return f"{name}, {cells} cells of {channels} channels"
    return str(network)
