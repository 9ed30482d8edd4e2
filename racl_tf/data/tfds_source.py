"""Image classification sets of TensorFlow Datasets, downloaded where they are absent.

They are read once from first to last, whatever the format that they are prepared in. TFRecord files, the usual ones,
give no random access (`tfds.data_source` needs ArrayRecord files), and the order of images, which runs depend on, is
that of `as_dataset` for all. Random access is to the decoded images, in memory or mapped (see `ImageStorage`).
"""

import difflib
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from racl_tf.data.image_set import Dataset, ImageSet
from racl_tf.data.image_storage import ImageStorage, stamp_of
from racl_tf.data.resizing import resize_each
from racl_tf.data.splits import hold_out_test
from racl_tf.errors import UsageError, unknown

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_LOGGER = logging.getLogger(__name__)
WELL_KNOWN = ("digits", "mnist", "cifar10", "cifar100")


def read_tfds(
    name: str,
    data_dir: str | None,
    size: tuple[int, int] | None,
    in_memory: bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Reads the TFDS set `name`, with its `validation` split or 10% of `train` for a `test` split it lacks.

    Raises:
        UsageError: there is no such set, it does not classify images, its download fails, or its
            images differ in shape and `size` is not given.
    """
    builder = _builder(name, data_dir)
    label_key = _label_key(builder)
    _download(builder)
    splits = builder.info.splits
    if "train" not in splits:
        raise UsageError(f"The TFDS set {name!r} has no train split, only {', '.join(splits)}: choose another set.")
    storage = ImageStorage(name, builder.data_dir, size, in_memory, cache_dir)
    train = _read_split(builder, "train", storage)
    held_out = next((split for split in ("test", "validation") if split in splits), None)
    if held_out is None:
        train, test = hold_out_test(train, 0.1)
    else:
        test = _read_split(builder, held_out, storage)
    return Dataset(name, train, test, tuple(builder.info.features[label_key].names))


def _builder(name: str, data_dir: str | None) -> "tfds.core.DatasetBuilder":
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except ValueError as error:
        names = tfds.list_builders()
        if name.partition("/")[0].partition(":")[0] in names:
            raise UsageError(f"TFDS cannot build {name!r}; correct its config or version. {error}") from error
        near = [match for match in difflib.get_close_matches(name, names, n=1) if match not in WELL_KNOWN]
        raise UsageError(
            f"{unknown('dataset', name, [*WELL_KNOWN, *near])} Other TFDS image classification sets go by their name, "
            "folders with one sub-folder per class and .npz files by the path of what exists."
        ) from error


def _label_key(builder: "tfds.core.DatasetBuilder") -> str:
    from tensorflow_datasets import features

    match builder.info.supervised_keys:
        case (str(image), str(label)):
            kinds = builder.info.features
            if isinstance(kinds[image], features.Image) and isinstance(kinds[label], features.ClassLabel):
                return label
    raise UsageError(
        f"The TFDS set {builder.name!r} does not classify images: its supervised keys are "
        f"{builder.info.supervised_keys}. Choose a set of images with one label each."
    )


def _download(builder: "tfds.core.DatasetBuilder") -> None:
    if not builder.is_prepared():
        _LOGGER.info("%s is not in %s yet and is downloaded.", builder.name, builder.data_dir)
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, disk, checksum, missing extra: all are the user's to mend
        reason = next(iter(str(error).splitlines()), "")
        raise UsageError(
            f"TFDS could not download {builder.name!r} and prepare it in {builder.data_dir}: "
            f"{type(error).__name__}: {reason} Check the connection and the space on the disk, or prepare the set on "
            "another machine, copy it, and pass the folder that holds it as data_dir."
        ) from error


def _read_split(builder: "tfds.core.DatasetBuilder", split: str, storage: ImageStorage) -> ImageSet:
    labels: list[int] = []

    def images() -> Iterator[np.ndarray]:
        import tensorflow_datasets as tfds

        for image, label in tfds.as_numpy(builder.as_dataset(split=split, as_supervised=True)):
            labels.append(label)
            yield image

    def stamp() -> str:
        prepared = sorted(path for path in pathlib.Path(builder.data_dir).rglob("*") if path.is_file())
        return stamp_of(prepared, builder.info.full_name)

    count = builder.info.splits[split].num_examples
    return storage.keep(split, resize_each(images(), storage.size), labels, count, stamp)
