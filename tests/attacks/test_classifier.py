"""Any classifier as a function of images in [0, 1], traced once, left as it was, and not kept alive."""

import gc
import pathlib
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import Classifier, fgsm, mim, pgd
from racl_tf.errors import UsageError
from racl_tf.export import export_saved_model
from racl_tf.training.adversarial_trainer import AdversarialTrainer


class Counted(keras.layers.Layer):
    """Counts its traces."""

    def __init__(self):
        super().__init__()
        self.traces = 0

    def call(self, x):
        self.traces += 1
        return keras.ops.reshape(x, (-1, 12))[:, :4]


def test_attacks_that_differ_in_numbers_or_batch_size_share_a_trace(images, labels) -> None:
    model, attack = Counted(), pgd(0.1, 0.02, 3)
    attack(model, images, labels)
    once = model.traces
    for other, size in ((attack, 7), (pgd(0.2, 0.01, 5), 4), (pgd(1, 1, 1), 1)):
        other(model, images[:size], labels[:size], seed=size, index=np.arange(size) + size)
    assert model.traces == once
    mim(0.1, 0.02, 3)(model, images, labels)
    assert model.traces > once


def test_new_weights_count(network, images, labels) -> None:
    before = fgsm(0.1)(network, images, labels)
    network.dense[-1].kernel.assign(-network.dense[-1].kernel)
    assert not np.allclose(fgsm(0.1)(network, images, labels), before)


def test_weights_and_statistics_are_untouched(images, labels) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [layers.Conv2D(4, 2), layers.BatchNormalization(), layers.Flatten(), layers.Dropout(0.5), layers.Dense(4)]
    )
    model(images)
    before = [variable.numpy() for variable in model.variables]
    one, other = (pgd(0.1, 0.02, 3)(model, images, labels) for _ in range(2))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(one, other)


def test_the_cache_lets_a_model_go() -> None:
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    fgsm(0.1)(model, np.full((1, 3), 0.5), [0])
    alive = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert alive() is None


class Linear(keras.layers.Layer):
    """logits A x + b on flattened images, or their softmax."""

    def __init__(self, kernel, bias=0.0, activation=None):
        super().__init__()
        self.kernel, self.bias, self.activation = kernel, bias, activation

    def call(self, x):
        logits = keras.ops.reshape(x, (-1, self.kernel.shape[0])) @ self.kernel + self.bias
        return keras.ops.softmax(logits) if self.activation else logits


@pytest.mark.parametrize("bounds", [(0, 255), (-1, 1), (0.5, 4)])
def test_bounds_are_the_model_s_and_eps_is_in_units_of_0_to_1(kernels, images, labels, bounds) -> None:
    kernel = kernels[0][:, :4]
    low, high = bounds
    plain = Linear(kernel)
    scaled = Linear(kernel / (high - low), -low / (high - low) * kernel.sum(axis=0))  # of low + (high - low) x
    attack = pgd(0.1, 0.02, 5)
    moved = attack(Classifier(scaled, bounds=bounds), images, labels)
    np.testing.assert_allclose(moved, attack(plain, images, labels), atol=1e-4)
    np.testing.assert_allclose(Classifier(scaled, bounds=bounds).logits(images), plain(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_probabilities_are_attacked_by_their_logarithms(kernels, images, labels, loss) -> None:
    """Cross-entropy and margin depend on differences of logits alone, which logarithms of a softmax keep."""
    kernel, attack = kernels[0][:, :4], pgd(0.1, 0.02, 5, loss=loss)
    with pytest.warns(UserWarning, match=r"probabilities.*softmax"):
        moved = attack(Linear(kernel, activation="softmax"), images, labels)
    np.testing.assert_allclose(moved, attack(Linear(kernel), images, labels), atol=1e-5)


def head(activation: str, dtype: str) -> keras.Model:
    """A linear classifier of 4 pixels with large logits and an activation, computed in a type."""
    start = keras.initializers.RandomNormal(stddev=3.0, seed=1)
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation=activation, kernel_initializer=start, dtype=dtype)]
    )


PIXELS = np.random.default_rng(0).uniform(size=(6, 4)).astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_of_any_precision_are_noticed(activation: str, dtype: str) -> None:
    model = head(activation, dtype)
    classifier = Classifier(lambda x: model(x))
    with pytest.warns(UserWarning, match=f"probabilities, as a {activation}.*last {activation}"):
        classifier.check(PIXELS, np.zeros(6, int))
    assert classifier.probabilities == activation
    truth = head("linear", "float32").predict(PIXELS, verbose=0).argmax(1)
    np.testing.assert_array_equal(classifier.logits(PIXELS).argmax(1), truth)


@pytest.mark.parametrize("end", ["dense", "softmax", "activation", "functional", "sigmoid"])
def test_a_last_softmax_that_a_model_shows_is_left_out(
    end: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """The logits before it are exact where the probabilities are rounded to 0 and 1, and the model stays as it is."""
    linear, layers, name = head("linear", "float32"), keras.layers, "sigmoid" if end == "sigmoid" else "softmax"
    if end in ("dense", "functional", "sigmoid"):
        model = head(name, "float32")
        if end == "functional":
            model = keras.Model(model.inputs, model.outputs)
    else:
        last = layers.Softmax() if end == "softmax" else layers.Activation("softmax")
        model = keras.Sequential([keras.Input((4,)), *head("linear", "float32").layers, last])
    steep = [1000 * weights for weights in linear.get_weights()]
    linear.set_weights(steep)
    model.set_weights(steep)
    before = model.get_config()
    with caplog.at_level("INFO", "racl_tf"):
        classifier = Classifier(model)
    assert f"The model's last {name} is left out" in caplog.text
    classifier.check(PIXELS, np.zeros(6, int))
    np.testing.assert_allclose(classifier.logits(PIXELS), linear(PIXELS), rtol=1e-5, atol=1e-5)
    assert not [warning for warning in recwarn if "probabilities" in str(warning.message)]
    assert model.get_config() == before
    expected = getattr(keras.ops, name)(linear(PIXELS))
    np.testing.assert_allclose(model(PIXELS), expected, atol=1e-6)


def test_a_softmax_within_a_model_of_one_s_own_is_not_seen() -> None:
    class Own(keras.Sequential):
        def call(self, inputs, training=None, mask=None):
            return 1 - super().call(inputs, training=training, mask=mask)

    own = Own(head("softmax", "float32").layers)
    np.testing.assert_allclose(Classifier(own).logits(PIXELS), own(PIXELS), rtol=1e-5)


@pytest.mark.parametrize("activation", ["linear", "relu", "softplus", "tanh", "hard_sigmoid", "zeros", "relu6"])
def test_what_are_no_probabilities(activation: str, recwarn: pytest.WarningsRecorder) -> None:
    """A new network's logits may be small, a head of zeros gives zeros; only what never leaves [0, 1] is suspicious."""
    dense = keras.layers.Dense(5, activation="relu" if activation == "zeros" else activation)
    model = keras.Sequential([keras.Input((4,)), dense])
    dense.set_weights([dense.get_weights()[0] * (0 if activation == "zeros" else 0.1), dense.get_weights()[1] + 0])
    classifier = Classifier(model)
    classifier.check(PIXELS, np.zeros(6, int))
    assert classifier.probabilities == ("sigmoid" if activation == "hard_sigmoid" else "")


def test_class_by_class_probabilities_are_attacked_by_their_logits(kernels, images, labels) -> None:
    kernel, attack = kernels[0][:, :4] / 4, pgd(0.1, 0.02, 5)
    linear = Classifier(lambda x: tf.reshape(x, [-1, 12]) @ tf.constant(kernel))
    with pytest.warns(UserWarning, match="sigmoid"):
        moved = attack(Classifier(lambda x: tf.sigmoid(linear.logits_of(x))), images, labels)
    np.testing.assert_allclose(moved, attack(linear, images, labels), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_in_float16_are_warned_of(dtype: str, recwarn: pytest.WarningsRecorder) -> None:
    Classifier(head("linear", dtype)).check(PIXELS, np.zeros(6, int))
    assert any("computes in float16" in str(warning.message) for warning in recwarn) == (dtype == "mixed_float16")


@pytest.mark.parametrize("training", [True, False])
def test_a_model_run_in_training_mode_is_noticed(training: bool, recwarn: pytest.WarningsRecorder) -> None:
    """By its batch normalization; dropout makes it random, which is no dependence on others."""
    norm, dropout = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), norm])
    for function, warns in (
        (lambda x: model(x, training=training), training),
        (lambda x: model(dropout(x, training=training)), False),
    ):
        recwarn.clear()
        Classifier(function).check(PIXELS, np.zeros(6, int))
        assert any("depend on the other images" in str(warning.message) for warning in recwarn) == warns


def test_models_of_integers_are_refused() -> None:
    pixels = keras.Input((2, 2, 1), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32")(pixels)
    model = keras.Model(pixels, keras.layers.Dense(3)(keras.layers.Flatten()(scaled)))
    for made in (model, keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Dense(2)])):
        with pytest.raises(UsageError, match=r"The model takes u?int\d+, to which images in \[0, 1\] are cut"):
            fgsm(0.1)(made, np.zeros((1, *made.input_shape[1:])), [0])


def test_logits_that_sum_to_1_once_are_logits(recwarn) -> None:
    model = Linear(np.eye(2, dtype=np.float32))
    assert not Classifier(model).probabilities
    fgsm(0.1)(model, np.array([[0.25, 0.75]]), [0])
    assert not [warning for warning in recwarn if "probabilities" in str(warning.message)]


def test_a_function_is_a_classifier(kernels, images, labels) -> None:
    kernel = tf.constant(kernels[0][:, :4])
    function = Classifier(lambda x: tf.reshape(x, [-1, 12]) @ kernel)
    attack = mim(0.1, 0.02, 5)
    np.testing.assert_array_equal(attack(function, images, labels), attack(Linear(kernel), images, labels))


@pytest.mark.parametrize("bounds", [(1, 0), (0, np.inf), (0, 1, 2), (np.nan, 1)], ids=str)
def test_invalid_bounds(bounds) -> None:
    with pytest.raises(UsageError, match=r"two rising numbers.*Received"):
        Classifier(Linear(np.eye(2)), bounds=bounds)


def test_no_classifier() -> None:
    with pytest.raises(UsageError, match=r"Keras model or a function\. Received: str"):
        Classifier("model.keras")


def test_a_model_without_an_axis_of_channels_is_shown_images_without_one() -> None:
    layers = [keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8)), *layers])
    x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    np.testing.assert_allclose(Classifier(model).logits(x), model(x[..., 0]), rtol=1e-5)
    assert fgsm(0.1)(model, x, np.zeros(4, int)).shape == x.shape


def test_several_outputs_are_said(tmp_path: pathlib.Path) -> None:
    """In an attack, in training and in an export alike."""
    inputs = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    x, y = np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, int)
    for outputs in ({"logits": logits}, [logits, logits]):
        model = keras.Model(inputs, outputs)
        for use in (
            lambda model=model: fgsm(0.1)(model, x, y),
            lambda model=model: AdversarialTrainer(model).compile(),
            lambda model=model: export_saved_model(model, tmp_path / "saved"),
        ):
            with pytest.raises(UsageError, match="must give its logits alone"):
                use()
