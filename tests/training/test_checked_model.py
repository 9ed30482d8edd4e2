"""What a step of one's own has to see to itself: the range of images and labels, float16, and uneven batches."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import fgsm, pgd
from racl_tf.errors import UsageError
from racl_tf.layers.batch_norm import BatchNorm
from racl_tf.networks.supernet import Supernet
from racl_tf.search.racl_search import RACLSearch
from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.checked_model import has_onednn
from racl_tf.training.descent import descend, share_of_batch

SHAPE = (4, 4, 1)


@pytest.fixture
def policy() -> Iterator[Callable[[str], None]]:
    """Sets the global policy until the test ends."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def data(count: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(count, *SHAPE)).astype("float32"), np.arange(count, dtype=np.int32) % 3


def trainer(*layers: keras.layers.Layer, attack: Any = None, **options: Any) -> AdversarialTrainer:
    head = keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(1), dtype="float32")
    model = AdversarialTrainer(
        keras.Sequential([keras.Input(SHAPE), *layers, keras.layers.Flatten(), head]), attack, seed=2
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **options)
    return model


def as_dataset(x: np.ndarray, y: np.ndarray) -> tuple:
    return (tf.data.Dataset.from_tensor_slices((x, y)).batch(5),)


def as_generator(x: np.ndarray, y: np.ndarray) -> tuple:
    return ((x[start : start + 4], y[start : start + 4]) for start in range(0, len(x), 4)), None


@pytest.mark.parametrize("given", [lambda x, y: (x, y), as_dataset, as_generator], ids=["arrays", "dataset", "pieces"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x * 2 - 1,
        lambda x: 255 * x,
        lambda x: np.where(np.arange(len(x))[:, None, None, None] == len(x) - 1, 1.001, x).astype("float32"),
        lambda x: np.where(x > 0.9, np.nan, x),
    ],
    ids=["normalised", "bytes", "one at the end", "nan"],
)
def test_images_out_of_range_are_refused(spoil: Callable, given: Callable) -> None:
    x, y = data()
    model = trainer()
    with pytest.raises(UsageError, match=r"^Images to train on must lie in \[0, 1\]. Received: values from \S+ to \S+"):
        model.fit(*given(spoil(x), y), verbose=0, shuffle=False)


def test_nothing_is_learnt_of_images_out_of_range() -> None:
    model, (x, y) = trainer(attack=pgd(0.1, 0.05, 1)), data()
    before = [variable.numpy() for variable in model.network.variables]
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(UsageError, match=r"values from -1 to -1\. Put any normalisation into the model"):
            call(0 * x - 1, y)
    with pytest.raises(UsageError, match="must lie in"):
        model.fit(x[:1], y[:1], validation_data=(x + 0.5, y), verbose=0)
    for variable, value in zip(model.network.variables[:1], before[:1], strict=True):
        assert np.abs(variable.numpy() - value).max() < 0.2  # of the one good step
    with pytest.raises(UsageError, match="weights of samples"):
        model.fit(x, y, sample_weight=np.ones(len(y)), verbose=0)
    with pytest.raises(UsageError, match=r"Received: uint8\. Scale bytes first"):
        model.fit((255 * x).astype("uint8"), y, verbose=0)


def test_eager_steps_say_the_same() -> None:
    x, y = data(4)
    model = trainer(run_eagerly=True)
    with pytest.raises(UsageError, match=r"^Images to train on .* values from 0\.\d+ to 2\.0\. Put"):
        model.fit(np.where(x == x.max(), 2.0, x).astype("float32"), y, verbose=0)
    with pytest.raises(UsageError, match=r"^Labels must be classes from 0\. Received: values from -1 to 1\."):
        model.evaluate(x, y - 1, verbose=0)


def test_images_in_range_of_other_types_are_taken() -> None:
    x, y = data()
    x[0], x[1] = 0, 1
    losses = []
    for convert in (np.float32, np.float64):
        model = trainer(attack=fgsm(0.1))
        stream = tf.data.Dataset.from_tensor_slices((x.astype(convert), y)).batch(4)
        losses.append(model.evaluate(stream, verbose=0))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_labels_of_any_integer_type_are_checked_before_they_are_cast(dtype: Any) -> None:
    x, y = data(3)
    model, wrong = trainer(), y.astype(dtype)
    assert model.test_on_batch(x, y.astype(dtype)) == model.test_on_batch(x, y)
    # What would be a class again if it were cast to int32, and where the type is too narrow for that, no class.
    wrong[-1] = 2**32 + 1 if wrong.dtype.itemsize == 8 else 3
    with pytest.raises(UsageError, match=r"Labels must be (classes from 0|below the number of classes)"):
        model.test_on_batch(x, wrong)


def test_under_xla_images_out_of_range_end_in_nan() -> None:
    x, y = data(4)
    model = trainer(jit_compile=True)
    assert np.isnan(model.fit(2 * x, y, verbose=0).history["loss"])


def test_the_search_checks_both_halves() -> None:
    x, y = data(4)
    model = RACLSearch(Supernet(3, channels=4, cells=1, partial=2, input_shape=SHAPE, seed=0))
    model.compile()
    good, bad = (x, y), (x - 0.5, y)
    for halves in ((good, bad), (bad, good)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Images to train on must lie in"):
            model.train_step(halves)


@pytest.mark.parametrize("name", ["mixed_float16", "float16"])
def test_float16_is_refused(name: str, policy: Callable[[str], None]) -> None:
    policy(name)
    with pytest.raises(UsageError, match=r"compute in float16, such as .*mixed_bfloat16"):
        trainer(keras.layers.Conv2D(2, 3))
    if name == "mixed_float16":
        search = RACLSearch(Supernet(3, channels=4, cells=1, partial=2, input_shape=SHAPE, seed=0))
        with pytest.raises(UsageError, match=r"compute in float16, such as .*mixed_bfloat16"):
            search.compile()
    policy("float32")
    with pytest.raises(UsageError, match="1 layers that compute in float16"):
        trainer(keras.layers.Activation("relu", dtype=name))


@pytest.mark.parametrize(
    "optimizer",
    [keras.optimizers.SGD(0.1, loss_scale_factor=1024.0), keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())],
    ids=["factor", "wrapped"],
)
def test_optimizers_that_divide_gradients_are_refused(optimizer: keras.Optimizer) -> None:
    model = trainer()
    with pytest.raises(UsageError, match="Pass the optimizer itself"):
        model.compile(optimizer)
    search = RACLSearch(Supernet(3, channels=4, cells=1, partial=2, input_shape=SHAPE, seed=0))
    with pytest.raises(UsageError, match="Pass the optimizer itself"):
        search.compile(None, optimizer)


@pytest.mark.skipif(not has_onednn(), reason="TensorFlow computes without oneDNN")
def test_a_replica_without_images_is_refused_with_onednn(two_replicas: tf.distribute.Strategy) -> None:
    """TensorFlow 2.21 gives a convolution of no images the shape of these, and whatever follows fails or is wrong."""
    none = tf.zeros([0, 8, 8, 1])
    assert tf.nn.conv2d(none, tf.ones([3, 3, 1, 2]), 1, "VALID").shape != (0, 6, 6, 2)
    x, y = data(5)
    with two_replicas.scope():
        model = trainer(keras.layers.Conv2D(3, 3))
    with pytest.raises(UsageError, match=r"fewer images than replicas.*TF_ENABLE_ONEDNN_OPTS=0"):
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)


@pytest.mark.parametrize("count", [7, pytest.param(5, marks=pytest.mark.skipif(has_onednn(), reason="oneDNN cannot"))])
def test_a_last_batch_of_any_size_counts_by_its_images(count: int, two_replicas: tf.distribute.Strategy) -> None:
    """7 = 4 + 3 images on two replicas; of 5 the last batch leaves one replica without an image."""
    x, y = data(count)

    def make() -> AdversarialTrainer:
        return trainer(
            keras.layers.Conv2D(3, 3, kernel_initializer=keras.initializers.GlorotUniform(3)),
            BatchNorm(),
            clip_norm=0.5,
        )

    with two_replicas.scope():
        mirrored = make()
    single = make()
    histories = [
        model.fit(x, y, batch_size=4, validation_data=(x, y), validation_batch_size=4, shuffle=False, verbose=0).history
        for model in (mirrored, single)
    ]
    for name, (value,) in histories[0].items():
        assert value == pytest.approx(histories[1][name][0], rel=1e-4), name
    for ours, truth in zip(mirrored.network.variables, single.network.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), truth.numpy(), rtol=1e-4, atol=1e-5, err_msg=truth.path)


@pytest.mark.skipif(not has_onednn(), reason="the test above has run it")
def test_without_onednn_a_replica_without_images_counts_nothing() -> None:
    """Runs the case that the test above leaves out in a process of its own, as TensorFlow decides when it starts."""
    name = f"{__file__}::test_a_last_batch_of_any_size_counts_by_its_images[5]"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_validation_is_the_mean_over_images() -> None:
    x, y = data(7)
    model = trainer()
    logits = model.network(x).numpy().astype(float)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(7), y]
    found = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == y).mean())


def test_shares_weigh_replicas_by_their_images(two_replicas: tf.distribute.Strategy) -> None:
    """Losses 2 of three images, NaN of none: the descent is on their mean over three images."""
    with two_replicas.scope():
        weight, optimizer = keras.Variable(1.0), keras.optimizers.SGD(1.0)
        optimizer.build([weight])

    @tf.function(autograph=False)
    def step() -> None:
        def replica() -> None:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            count = tf.where(number == 0, 3, 0)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(2 * weight.value * tf.ones([count]))
                share = share_of_batch(loss, count, count)
            descend(optimizer, [tape.gradient(share, weight.value)], [weight])

        two_replicas.run(replica)

    step()
    assert weight.numpy() == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "form", [lambda y: y.astype("uint8"), lambda y: y[:, None], lambda y: y[:, None].astype("uint8")]
)
def test_labels_in_the_forms_of_keras_s_data_sets_train_alike(form: Callable) -> None:
    x, y = data()
    one, other = trainer(), trainer()
    losses = [model.fit(x, labels, verbose=0, shuffle=False).history for model, labels in ((one, y), (other, form(y)))]
    assert losses[0] == losses[1]


def test_one_hot_labels_are_refused() -> None:
    x, y = data()
    with pytest.raises(UsageError, match=r"float32 of shape \(.*3\)\. For one-hot rows take their argmax"):
        trainer().fit(x, np.eye(3, dtype="float32")[y], verbose=0)


def of_unknown_length(x: np.ndarray, y: np.ndarray) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda image, label: label >= 0).batch(5)


@pytest.mark.parametrize(
    "options",
    [{"run_eagerly": True}, {"steps_per_execution": 2}, {"steps_per_execution": 5}],
    ids=["eager", "two at once", "more than there are at once"],
)
def test_every_way_to_run_steps_learns_the_same_to_the_end_of_the_data(options: dict[str, Any]) -> None:
    x, y = data(13)
    models = [trainer(attack=pgd(0.1, 0.05, 2)), trainer(attack=pgd(0.1, 0.05, 2), **options)]
    histories = [model.fit(of_unknown_length(x, y), epochs=2, verbose=0).history for model in models]
    assert [int(model.steps) for model in models] == [6, 6]  # 5, 5 and 3 images in each epoch
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-5)
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    evaluated = [model.evaluate(of_unknown_length(x, y), verbose=0, return_dict=True) for model in models]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-5)


def test_batches_without_weights_may_say_so() -> None:
    x, y = data(4)
    models = [trainer(), trainer()]
    models[0].fit(((x, y, None) for _ in range(2)), verbose=0)
    models[1].fit(((x, y) for _ in range(2)), verbose=0)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


class Traced(AdversarialTrainer):
    """A trainer that notes the sizes of batches that its step is traced for."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        self.sizes.append(data[0].shape[0])
        return super().train_step(data)


def test_a_step_on_batches_of_all_sizes_is_traced_twice_at_most() -> None:
    model = Traced(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]))
    model.compile()
    model.sizes = []
    for size in (4, 5, 6, 7):
        model.fit(tf.data.Dataset.from_tensors(data(size)), verbose=0)
    assert model.sizes == [4, None]
