"""FGSM, PGD and MIM by other libraries: functions from (images, labels) to adversarial images."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

EPS, STEP_SIZE = 8 / 255, 2 / 255
Attacker = Callable[[np.ndarray, np.ndarray], Any]


def foolbox(model: keras.Model, steps: int) -> dict[str, Attacker]:
    """As its documentation shows it, on the Keras model itself."""
    return _foolbox(model, steps)


def foolbox_compiled(model: keras.Model, steps: int) -> dict[str, Attacker]:
    """As fast as it gets, on the model as a `tf.function`."""
    return _foolbox(tf.function(model), steps)


def _foolbox(model: Callable[[tf.Tensor], tf.Tensor], steps: int) -> dict[str, Attacker]:
    """Its MIM adds up raw gradients, without the division by their norm that the method prescribes."""
    import foolbox as fb

    wrapped = fb.TensorFlowModel(model, bounds=(0, 1))
    made = {
        "FGSM": fb.attacks.LinfFastGradientAttack(),
        "PGD": fb.attacks.LinfPGD(abs_stepsize=STEP_SIZE, steps=steps),
        "MIM": fb.attacks.LinfMomentumIterativeFastGradientMethod(abs_stepsize=STEP_SIZE, steps=steps),
    }

    def attacker(attack: Any) -> Attacker:
        # `run` leaves out the evaluation that calling the attack adds; int32 labels crash.
        return lambda x, y: attack.run(wrapped, tf.constant(x), tf.constant(y, tf.int64), epsilon=EPS).numpy()

    return {name: attacker(attack) for name, attack in made.items()}


def cleverhans(model: keras.Model, steps: int) -> dict[str, Attacker]:
    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
    from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    function = tf.function(model)
    box = {"clip_min": 0.0, "clip_max": 1.0, "sanity_checks": False}
    iterated = {"eps": EPS, "eps_iter": STEP_SIZE, "nb_iter": steps, "norm": np.inf, **box}

    def attacker(attack: Callable[..., tf.Tensor], **options: Any) -> Attacker:
        return lambda x, y: attack(function, tf.constant(x), y=tf.constant(y), **options).numpy()

    return {
        "FGSM": attacker(fast_gradient_method, eps=EPS, norm=np.inf, **box),
        "PGD": attacker(projected_gradient_descent, rand_init=True, **iterated),
        "MIM": attacker(momentum_iterative_method, decay_factor=1.0, **iterated),
    }


def art(model: keras.Model, steps: int) -> dict[str, Attacker]:
    """Its MIM is disabled for TensorFlow."""
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wrapped = TensorFlowV2Classifier(tf.function(model), 10, (32, 32, 3), loss, clip_values=(0, 1))
    iterated = {"eps": EPS, "eps_step": STEP_SIZE, "max_iter": steps, "batch_size": 1024, "verbose": False}
    made = {
        "FGSM": evasion.FastGradientMethod(wrapped, eps=EPS, batch_size=1024),
        "PGD": evasion.ProjectedGradientDescentTensorFlowV2(wrapped, num_random_init=1, **iterated),
    }
    return {name: attack.generate for name, attack in made.items()}


PEERS = {
    "Foolbox": (foolbox, "foolbox", "foolbox==3.3.4"),
    "Foolbox compiled": (foolbox_compiled, "foolbox", "foolbox==3.3.4"),
    "CleverHans": (cleverhans, "cleverhans.tf2.attacks.fast_gradient_method", "cleverhans==4.0.0"),
    "ART": (art, "art.attacks.evasion", "adversarial-robustness-toolbox==1.20.1"),
}
