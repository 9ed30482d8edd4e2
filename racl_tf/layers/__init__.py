"""Keras layers of the search space: candidate operations, the cells of a genotype, the mixed cells of the supernet."""

from racl_tf.backend import require_tensorflow

require_tensorflow()
