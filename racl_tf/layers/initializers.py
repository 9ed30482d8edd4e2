"""How weights start."""

import keras


def uniform(fan_in: int, seed: int) -> keras.initializers.Initializer:
    """Returns the reference's initialiser of convolutions: uniform in +-1 / sqrt(fan_in)."""
    limit = fan_in**-0.5
    return keras.initializers.RandomUniform(-limit, limit, seed)
