"""The sweeps of a run: robust accuracy over the radius and over the steps."""

import itertools

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import make_attack
from racl_tf.evaluation import (
    Sweep,
    sweep_eps,
    sweep_steps,
)
from racl_tf.evaluation.sweep import rising
from racl_tf.files import write_json
from racl_tf.reporting import plot_sweeps
from racl_tf.runs.common import bars_are_shown, describe_threat, load_data, provenance
from racl_tf.runs.evaluate import announce, load_attacked_model
from racl_tf.runs.folder import StepFolder, one_writer


@one_writer
def run_sweep(config: ConfigDict, workdir: str) -> dict[str, Sweep]:
    """Sweeps attacks over their radius and PGD over its steps, and writes curves and pictures to `workdir/sweep`."""
    model, settings, threat = load_attacked_model(config, workdir), config.sweep, config.attack
    step = StepFolder(workdir, file_names.SWEEP, config, ("attack", "evaluate", "sweep"))
    attacks = {name: make_attack(name, threat.eps, threat.step_size, threat.norm) for name in settings.attacks}
    rising("epsilons", settings.epsilons)
    rising("steps", settings.steps)
    (longest,) = make_attack(f"pgd{settings.steps[-1]}", threat.eps, threat.step_size, threat.norm)
    test = load_data(config).test
    classes = model.check(test.images([0]), test.y)
    for attack in itertools.chain(*attacks.values()):
        attack.check_classes(classes)
    folder, attacked = step.begin(), config.evaluate.model or f"{file_names.TRAIN}/{file_names.BEST_NETWORK}"
    announce("Sweep", attacked, model, config, test, f"{', '.join(attacks)} over eps, pgd over steps")
    options = {"batch_size": config.evaluate.batch_size, "seed": config.seed, "progress": bars_are_shown()}
    over_eps = {
        name: sweep_eps(model, test, plan, settings.epsilons, folder=folder / name, **options)
        for name, plan in attacks.items()
    }
    over_steps = {
        "pgd": sweep_steps(model, test, longest, settings.steps, folder=folder / file_names.SWEEP_STEPS, **options)
    }
    title = f"{attacked} on {config.data.name}"
    plot_sweeps(over_eps, folder / file_names.EPS_PICTURE, title=f"{title}, {threat.norm}")
    plot_sweeps(over_steps, folder / file_names.STEPS_PICTURE, title=f"{title}, {describe_threat(config)}")
    sweeps = {f"{name} over eps": sweep for name, sweep in over_eps.items()} | {"pgd over steps": over_steps["pgd"]}
    for name, sweep in sweeps.items():
        sweep.save(folder / f"{name.replace(' ', '_')}.csv")
    curves = {name: sweep.to_dict() for name, sweep in sweeps.items()}
    write_json(folder / file_names.RESULTS, provenance(config, model=attacked) | curves)
    return sweeps
