"""Image classifiers. Importing this package makes all of them known to `keras.saving.load_model`."""

from racl_tf.networks import registry, supernet

__all__ = ["registry", "supernet"]
