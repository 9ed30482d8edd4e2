"""One trace per kind of attack, a model left as it was, a cache that keeps no model alive."""

import gc
import weakref

import keras
import numpy as np

from racl_tf.attacks import fgsm, mim, pgd
from racl_tf.attacks.compiled import compiled


def test_attacks_that_differ_in_numbers_share_a_trace(network, images, labels):
    for attack in (pgd(0.1, 0.02, 3), pgd(0.1, 0.02, 3), pgd(0.2, 0.01, 5)):
        attack(network, images, labels, seed=attack.steps, index=np.arange(7) + attack.steps)
    assert compiled(network).ascend.experimental_get_tracing_count() == 1
    mim(0.1, 0.02, 3)(network, images, labels)
    assert compiled(network).ascend.experimental_get_tracing_count() == 2
    assert compiled(network).logits.experimental_get_tracing_count() == 1


def test_new_weights_count(network, images, labels):
    before = fgsm(0.1)(network, images, labels)
    network.dense[-1].kernel.assign(-network.dense[-1].kernel)
    assert not np.allclose(fgsm(0.1)(network, images, labels), before)


def test_weights_and_statistics_are_untouched(images, labels):
    layers = keras.layers
    model = keras.Sequential(
        [layers.Conv2D(4, 2), layers.BatchNormalization(), layers.Flatten(), layers.Dropout(0.5), layers.Dense(4)]
    )
    model(images)
    before = [variable.numpy() for variable in model.variables]
    results = [pgd(0.1, 0.02, 3)(model, images, labels) for _ in range(2)]
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(*results)


def test_the_cache_lets_a_model_go():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    fgsm(0.1)(model, np.full((1, 3), 0.5), [0])
    alive = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert alive() is None
