"""What the steps of a run share: the data, the precision, the devices, the weights' optimizer."""

import functools

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from racl_tf.data import Augmentation, Dataset, augmentation_for, load_dataset


def load_data(config: ConfigDict) -> Dataset:
    """Returns the data set of a configuration; the last two are kept, for the steps that follow."""
    data = config.data
    return _load(data.name, data.data_dir, data.train_size, data.test_size, data.image_size, config.seed)


@functools.lru_cache(maxsize=2)
def _load(
    name: str, data_dir: str | None, train_size: int | None, test_size: int | None, image_size: int | None, seed: int
) -> Dataset:
    return load_dataset(
        name, data_dir=data_dir, train_size=train_size, test_size=test_size, image_size=image_size, seed=seed
    )


def set_precision(config: ConfigDict) -> None:
    """Sets the dtype policy that layers made from here on have."""
    keras.config.set_dtype_policy("mixed_bfloat16" if config.mixed_precision else "float32")


def augmentation(config: ConfigDict) -> Augmentation:
    """Returns what is done to training images: what is usual for the data set, and the configured cutout."""
    usual = augmentation_for(config.data.name)
    return Augmentation(crop=usual.crop, flip=usual.flip, cutout=config.data.cutout)


@functools.cache  # a second MirroredStrategy would reuse the first one's collective keys
def strategy() -> tf.distribute.Strategy:
    """Returns the strategy of all GPUs if there are several, else the default one."""
    several = len(tf.config.list_logical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def sgd(settings: ConfigDict, total_steps: int) -> keras.optimizers.SGD:
    """Returns SGD with momentum and a learning rate that falls to 0 like a cosine, of a section's settings."""
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, total_steps)
    return keras.optimizers.SGD(schedule, momentum=settings.momentum)
