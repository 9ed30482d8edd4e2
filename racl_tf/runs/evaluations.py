"""The steps of a run that attack: the evaluation of one model, its sweeps, and transfer between models."""

from ml_collections import ConfigDict

from racl_tf.attacks import Classifier, by_name
from racl_tf.errors import UsageError, unknown
from racl_tf.evaluation import (
    Evaluation,
    Findings,
    Sweep,
    Transfer,
    check_for_masking,
    evaluate,
    load_classifier,
    sweep_eps,
    sweep_steps,
    transfer,
)
from racl_tf.evaluation.sweep import rising
from racl_tf.files import read_json, write_json, write_text
from racl_tf.reporting import plot_sweeps, plot_transfer
from racl_tf.runs.equipment import load_data
from racl_tf.runs.folder import StepFolder
from racl_tf.runs.steps import network_path


def run_evaluation(config: ConfigDict, workdir: str) -> tuple[Evaluation, Findings | None]:
    """Attacks a model on the test set and looks for signs of gradient masking.

    Writes outcomes.npz and results.json to `workdir/evaluate`.
    """
    settings, threat = config.evaluate, config.attack
    if not settings.attacks:
        raise UsageError("There is nothing to attack by. Give --attacks=fgsm,pgd20, or leave it out for all.")
    model = _model(config, workdir)
    step = StepFolder(workdir, "evaluate", config, ("attack", "evaluate"))
    attacks = {name: by_name(name, threat.eps, threat.step_size, threat.norm) for name in settings.attacks}
    test = load_data(config).test
    model.check(test.images([0]), test.y)
    folder = step.begin()
    options = {"batch_size": settings.batch_size, "seed": config.seed}
    evaluation = evaluate(model, test, attacks, folder=folder, **options)
    results, findings = folder / "results.json", None
    if results.exists():
        masking = read_json(results).get("masking")
        return evaluation, Findings.from_dict(masking) if masking else None
    if settings.check_images:
        findings = check_for_masking(
            model, test, eps=threat.eps, norm=threat.norm, images=settings.check_images, **options
        )
    record = {"dataset": config.data.name, "model": settings.model or "train/best.keras", **evaluation.as_dict()}
    write_json(results, record | ({"masking": findings.as_dict()} if findings else {}))
    return evaluation, findings


def run_sweep(config: ConfigDict, workdir: str) -> dict[str, Sweep]:
    """Sweeps attacks over their radius and PGD over its steps, and writes curves and pictures to `workdir/sweep`."""
    model, settings, threat = _model(config, workdir), config.sweep, config.attack
    step = StepFolder(workdir, "sweep", config, ("attack", "evaluate", "sweep"))
    attacks = {name: by_name(name, threat.eps, threat.step_size, threat.norm) for name in settings.attacks}
    rising("epsilons", settings.epsilons)
    rising("steps", settings.steps)
    (longest,) = by_name(f"pgd{settings.steps[-1]}", threat.eps, threat.step_size, threat.norm)
    test = load_data(config).test
    model.check(test.images([0]), test.y)
    folder = step.begin()
    options = {"batch_size": config.evaluate.batch_size, "seed": config.seed}
    over_eps = {
        name: sweep_eps(model, test, plan, settings.epsilons, folder=folder / name, **options)
        for name, plan in attacks.items()
    }
    over_steps = {"pgd": sweep_steps(model, test, longest, settings.steps, folder=folder / "steps", **options)}
    plot_sweeps(over_eps, folder / "eps.png")
    plot_sweeps(over_steps, folder / "steps.png")
    sweeps = {f"{name} over eps": sweep for name, sweep in over_eps.items()} | {"pgd over steps": over_steps["pgd"]}
    for name, sweep in sweeps.items():
        sweep.save(folder / f"{name.replace(' ', '_')}.csv")
    write_json(folder / "results.json", {name: sweep.as_dict() for name, sweep in sweeps.items()})
    return sweeps


def run_transfer(config: ConfigDict, workdir: str) -> Transfer:
    """Shows images crafted on some models to all, and writes the figures and a picture to `workdir/transfer`."""
    settings, threat = config.transfer, config.attack
    step = StepFolder(workdir, "transfer", config, ("attack", "evaluate", "transfer"))
    plan = by_name(settings.attack, threat.eps, threat.step_size, threat.norm)
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
    result.save(folder / "transfer.csv")
    write_text(folder / "transfer.md", result.markdown())
    write_json(folder / "results.json", {"models": list(settings.models), **result.as_dict()})
    plot_transfer(result, folder / "transfer.png")
    return result


def _model(config: ConfigDict, workdir: str) -> Classifier:
    settings = config.evaluate
    return load_classifier(settings.model or network_path(workdir), bounds=settings.bounds)


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
