"""Whether a model does better than chance: figures of one that does not mean nothing."""

import numpy as np

_FEWEST = 20  # images, below which nothing can be told
_ONE_CLASS = 0.9  # share of images


def chance_level(classes: int, images: int) -> float:
    """Returns the accuracy up to which guesses are as good, two standard deviations above what they give on average.

    >>> round(chance_level(10, 900), 2)
    0.12
    """
    return 1 / classes + 2 * float(np.sqrt((1 - 1 / classes) / classes / images))


def chance_warning(labels: np.ndarray, predictions: np.ndarray, classes: int) -> str:
    """Returns what is wrong with predictions that are right no more often than guesses, or "" if nothing is.

    They are near chance within two standard deviations of what guessing gives. A model that puts 90% of the images in
    one class, and is wrong for a third of these at least, is as bad.

    >>> labels = np.arange(100) % 10
    >>> chance_warning(labels, 0 * labels, 10)
    'Clean accuracy is 10.0% of 100 images, near chance, and 100% of them are put in class 0.'
    >>> chance_warning(labels, labels, 10)
    ''
    """
    count = len(labels)
    if count < _FEWEST:
        return ""
    accuracy = np.mean(predictions == labels)
    shares = np.bincount(predictions, minlength=classes) / count
    largest, share = int(shares.argmax()), float(shares.max())
    one_class = share >= _ONE_CLASS and np.mean(labels[predictions == largest] == largest) < 2 / 3
    near_chance = accuracy <= chance_level(classes, count)
    if not (near_chance or one_class):
        return ""
    near = ", near chance" if near_chance else ""
    all_one = f", and {share:.0%} of them are put in class {largest}" if share >= _ONE_CLASS else ""
    return f"Clean accuracy is {accuracy:.1%} of {count} images{near}{all_one}."
