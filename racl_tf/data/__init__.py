"""Datasets in memory or mapped, stratified splits, augmentation, and batches that a resumed run repeats exactly."""

from racl_tf.data.augmentation import NO_AUGMENTATION, Augmentation, augment, augmentation_for
from racl_tf.data.datasets import load_dataset
from racl_tf.data.image_set import Dataset, ImageSet
from racl_tf.data.pipeline import batches, search_batches, steps_per_epoch
from racl_tf.data.splits import hold_out, split_halves

__all__ = [
    "NO_AUGMENTATION",
    "Augmentation",
    "Dataset",
    "ImageSet",
    "augment",
    "augmentation_for",
    "batches",
    "hold_out",
    "load_dataset",
    "search_batches",
    "split_halves",
    "steps_per_epoch",
]
