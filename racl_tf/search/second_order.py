"""The architecture's gradient through one step of the weights, the second order of DARTS."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from racl_tf.training.descent import Objective, gradients_of

_RELATIVE_STEP = 0.01


def unrolled_gradients(
    validation_loss: Objective,
    training_loss: Objective,
    variables: Sequence[keras.Variable],
    weights: Sequence[keras.Variable],
    rate: tf.Tensor | float,
    state: Sequence[keras.Variable] = (),
) -> tuple[list[tf.Tensor], Any]:
    r"""Returns the gradient of the validation loss at the weights that one descent step leads to, and its details.

    With $w' = w - \xi \nabla_w L_{train}(w, \alpha)$ it is (Liu et al., 2019, Eqs. 7 and 8)

    $$\nabla_\alpha L_{val}(w', \alpha) - \xi \frac{\nabla_\alpha L_{train}(w^+, \alpha) -
    \nabla_\alpha L_{train}(w^-, \alpha)}{2 \epsilon}, \quad w^\pm = w \pm \epsilon \nabla_{w'} L_{val}(w', \alpha),$$

    epsilon being 0.01 over the norm of that last gradient. Weights and state are as before afterwards.

    Arguments:
        validation_loss: of the weights and variables as they stand.
        training_loss: likewise.
        variables: the architecture's (alpha).
        weights: the network's (w).
        rate: the length xi of the descent step.
        state: what the losses move besides, such as the moving statistics of normalisation.

    Differences from the source:
        The step is plain gradient descent, as in the paper's equation; the public code adds momentum and weight decay.
    """
    start, kept = ([tf.identity(variable.value) for variable in group] for group in (weights, state))

    def move(directions: Sequence[tf.Tensor], length: tf.Tensor | float) -> None:
        for weight, value, direction in zip(weights, start, directions, strict=True):
            weight.assign(value + length * direction)

    (descent,), _ = gradients_of(training_loss, weights)
    move(descent, -rate)
    (direct, direction), details = gradients_of(validation_loss, variables, weights)
    epsilon = _RELATIVE_STEP / tf.linalg.global_norm(direction)
    ends = []
    for length in (epsilon, -epsilon):
        move(direction, length)
        ends += gradients_of(training_loss, variables)[0]
    move(direction, 0.0)
    for variable, value in zip(state, kept, strict=True):
        variable.assign(value)
    gradients = [now - rate * (plus - minus) / (2 * epsilon) for now, plus, minus in zip(direct, *ends, strict=True)]
    return gradients, details
