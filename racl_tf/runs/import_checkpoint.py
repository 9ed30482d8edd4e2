"""A PyTorch checkpoint of a genotype's network as a folder that this library loads."""

import pathlib

from racl_tf.errors import UsageError
from racl_tf.networks.pretrained import save_pretrained
from racl_tf.networks.pytorch import CIFAR_MEAN, CIFAR_STD, from_pytorch, read_state_dict
from racl_tf.runs.draw import find_genotype
from racl_tf.runs.flags import numbers


def run_import(
    checkpoint: str,
    genotype: str,
    out: str,
    *,
    mean: str | None = None,
    std: str | None = None,
    image_size: int = 32,
) -> tuple[pathlib.Path, str]:
    """Writes the network of a PyTorch checkpoint to a folder, and returns its path and what the network is, for people.

    Arguments:
        checkpoint: what `read_state_dict` reads.
        genotype: a published one, a genotype's JSON file, or the folder of a run.
        out: the folder to create.
        mean: taken off pixels in [0, 1] before PyTorch's network saw them, one number or one a channel, with commas;
            CIFAR-10's, as in the code of DARTS, if not given.
        std: which images were then divided by, likewise.
        image_size: height and width of images in pixels.

    Raises:
        UsageError: the folder exists, there is no such checkpoint or genotype, or they do not fit.
    """
    if pathlib.Path(out).expanduser().exists():
        raise UsageError(f"Cannot write to {out!r}: it exists. Remove it or choose another folder.")
    means, deviations = _numbers("mean", mean, CIFAR_MEAN), _numbers("std", std, CIFAR_STD)
    found = find_genotype(genotype)
    network = from_pytorch(read_state_dict(checkpoint), found, image_size=image_size, mean=means, std=deviations)
    shown = [", ".join(f"{value:.4g}" for value in values) for values in (network.spec.mean, network.spec.std)]
    summary = (
        f"{len(network.cells)} cells of {network.channels} channels, {network.num_classes} classes. Images in [0, 1] "
        f"are normalised inside, by the mean {shown[0]} and the standard deviation {shown[1]}."
    )
    return save_pretrained(network, out), summary


def _numbers(name: str, text: str | None, usual: tuple[float, ...]) -> float | tuple[float, ...]:
    if text is None:
        return usual
    try:
        values = numbers(text)
    except (ValueError, ZeroDivisionError):
        values = ()
    if not values:
        raise UsageError(f"Received --{name}={text}. Give numbers with commas, such as --{name}=0.5,0.5,0.5.")
    return values[0] if len(values) == 1 else values
