"""Small models whose gradients are known."""

import keras
import numpy as np
import pytest


class Network(keras.Model):
    """logits = tanh(x A) B on flattened images; without A just x B."""

    def __init__(self, *kernels):
        super().__init__()
        self.dense = []
        for kernel in kernels:
            self.dense.append(keras.layers.Dense(kernel.shape[1], use_bias=False))
            self.dense[-1].build((None, kernel.shape[0]))
            self.dense[-1].kernel.assign(kernel)

    def call(self, x):
        x = keras.layers.Flatten()(x)
        for layer in self.dense[:-1]:
            x = keras.ops.tanh(layer(x))
        return self.dense[-1](x)


@pytest.fixture
def linear():
    """logits (w.x, 0) with w = (3, -1, 2, 0)."""
    return Network(np.array([[3, 0], [-1, 0], [2, 0], [0, 0]], np.float32))


@pytest.fixture
def kernels():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 8)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)


@pytest.fixture
def network(kernels):
    return Network(*kernels)


@pytest.fixture
def images():
    return np.random.default_rng(1).random((7, 2, 2, 3), np.float32)


@pytest.fixture
def labels():
    return np.array([0, 1, 2, 3, 0, 1, 2])
