"""The recount of an evaluation from the adversarial images that it kept."""

from racl_tf.evaluation import Evaluation, load_classifier, verify_bundle


def run_verification(bundle: str, model: str, bounds: tuple[float, ...] | None = None) -> Evaluation:
    """Returns the figures of a bundle, recounted with a model from a file, if all that the bundle claims holds.

    Arguments:
        bundle: its folder, which `racl-evaluate --keep_adversarial` wrote.
        model: a .keras or .h5 file or the folder of a SavedModel.
        bounds: the model's inputs for black and for white; by default as `Classifier` has them.

    Raises:
        UsageError: there is no such model, or something does not hold (see `verify_bundle`).
    """
    classifier = load_classifier(model, bounds=bounds)  # type: ignore[arg-type]  # which refuses other than two
    return verify_bundle(bundle, classifier)
