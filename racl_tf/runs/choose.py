"""The sampling of architectures from a run's search, of which the most robust one is chosen."""

import logging

from ml_collections import ConfigDict

from racl_tf import file_names
from racl_tf.attacks import make_attack
from racl_tf.errors import UsageError
from racl_tf.files import write_text
from racl_tf.reporting import draw_genotype
from racl_tf.runs.common import bars_are_shown, describe_threat, load_data, search_halves
from racl_tf.runs.folder import StepFolder, one_writer
from racl_tf.runs.search import load_search
from racl_tf.search.sampling import sample_architectures
from racl_tf.search.sampling_result import SamplingResult
from racl_tf.space import Genotype

_LOGGER = logging.getLogger(__name__)


@one_writer
def run_choice(config: ConfigDict, workdir: str) -> SamplingResult | Genotype:
    """Samples architectures from a finished search and writes the most robust one to `workdir/choose`.

    There are genotype.json and .png, choice.txt and choice.json. The images are of the half of the training set that
    the supernet's weights were not trained on. Returns what was found, or the genotype if it was made before.

    Raises:
        UsageError: there is no finished search, or not enough images.
    """
    step = StepFolder(workdir, file_names.CHOOSE, config, ("attack", "search", "choose"))
    result, settings, threat = step.path / file_names.GENOTYPE, config.choose, config.attack
    if result.exists():
        _LOGGER.info("The choice in %s is finished.", step.path)
        return Genotype.load(result)
    plan = make_attack(settings.attack, threat.eps, threat.step_size, threat.norm)
    if len(plan) > 1:
        raise UsageError(
            f"Architectures are attacked by one attack, not by the ensemble {settings.attack!r}. Try pgd5."
        )
    search = load_search(config, workdir)
    _, unseen = search_halves(config, load_data(config))
    if len(unseen) < settings.images:
        raise UsageError(
            f"The half of the training set that weights were not trained on has {len(unseen)} images, fewer than "
            f"choose.images={settings.images}. Ask for fewer."
        )
    folder = step.begin()
    _LOGGER.info(
        "Choice among %d architectures drawn from the search: each is tried with the supernet's weights on %d training "
        "images of %s that these were not trained on, by %s, %s. The first batch is compiled, which takes a while.",
        settings.samples,
        settings.images,
        config.data.name,
        settings.attack,
        describe_threat(config),
    )
    found = sample_architectures(
        search,
        unseen.take(range(settings.images)),
        attack=plan[0],
        samples=settings.samples,
        top=settings.top,
        batch_size=config.evaluate.batch_size,
        seed=config.seed,
        progress=bars_are_shown(),
    )
    write_text(folder / file_names.SAMPLING_TEXT, str(found))
    found.save(folder / file_names.SAMPLING)
    draw_genotype(found.genotype, folder / file_names.GENOTYPE_PICTURE)
    found.genotype.save(result)
    return found
