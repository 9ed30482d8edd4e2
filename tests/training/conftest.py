"""What the tests of training share."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """Two CPUs, reduced without collectives, whose keys a second strategy in the same process would use again."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
