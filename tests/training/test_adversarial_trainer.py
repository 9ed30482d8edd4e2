"""Adversarial training replayed by hand, on replicas, and what it is for: robustness."""

import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import GradientAttack, fgsm, image_seeds, pgd
from racl_tf.data import Dataset, batches, load_dataset
from racl_tf.defences import ADP, AdversarialTraining, Defence
from racl_tf.errors import UsageError
from racl_tf.image_spec import ImageSpec
from racl_tf.networks.ensemble import Ensemble
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.image_network import ImageNetwork, dense_head
from racl_tf.networks.l2_nonexpansive import L2Nonexpansive
from racl_tf.seeding import fold
from racl_tf.training.adversarial_trainer import AdversarialTrainer
from racl_tf.training.callbacks import BestNetwork, HistoryFile

RATE, MOMENTUM, CLIP, DECAY, SEED = 0.1, 0.9, 1.0, 1e-2, 4


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def small_network(seed: int = 0) -> keras.Model:
    """A convolutional classifier of 8x8 images in [0, 1]."""

    def start(number: int) -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=10 * seed + number)

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer=start(0)),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", kernel_initializer=start(1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_initializer=start(2)),
        ]
    )


def make_trainer(network: keras.Model, defence: Defence | GradientAttack | None, **options) -> AdversarialTrainer:
    trainer = AdversarialTrainer(network, defence, seed=SEED, **options)
    trainer.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), weight_decay=DECAY, clip_norm=CLIP)
    return trainer


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return -tf.reduce_mean(tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=1))


def replay(network: keras.Model, attack: GradientAttack | None, steps: list, loss_of) -> None:
    """Trains by the equations: attack in inference mode, gradient, clip, decay, momentum."""
    momenta = [np.zeros(variable.shape) for variable in network.trainable_variables]
    for count, (images, labels) in enumerate(steps):
        if attack is not None:
            seeds = image_seeds(fold(SEED, "train/attack", count, 0), tf.range(len(labels)))
            images = attack.perturb(lambda x: network(x, training=False), images, labels, seeds)
        variables = network.trainable_variables
        with tf.GradientTape() as tape:
            loss = loss_of(images, labels)
        gradients = [g.numpy() for g in tape.gradient(loss, [variable.value for variable in variables])]
        norm = np.sqrt(sum((gradient.astype(float) ** 2).sum() for gradient in gradients))
        for variable, gradient, momentum in zip(variables, gradients, momenta, strict=True):
            weight = variable.numpy()
            momentum *= MOMENTUM
            momentum -= RATE * (gradient * min(1, CLIP / norm) + DECAY * weight)
            variable.assign(weight + momentum)


def assert_equal_variables(ours: keras.Model, truth: keras.Model, atol: float = 1e-5) -> None:
    for variable, value in zip(ours.variables, truth.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-4, atol=atol, err_msg=variable.path)


@pytest.mark.parametrize("attack", [None, pgd(0.2, 0.08, 3)], ids=["plain", "attacked"])
def test_steps_replayed(attack: GradientAttack | None, digits: Dataset) -> None:
    """With fresh noise in every step."""
    steps = list(batches(digits.train, 16, seed=0).take(3))
    ours, truth = small_network(), small_network()
    trainer = make_trainer(ours, attack)
    for step in steps:
        logs = trainer.train_step(step)
    replay(truth, attack, steps, lambda images, labels: cross_entropy(truth(images, training=True), labels))
    assert_equal_variables(ours, truth)
    assert logs.keys() == {"loss", "accuracy"}
    assert int(trainer.steps) == 3


def test_auxiliary_head_and_normalisation(digits: Dataset) -> None:
    """The auxiliary head's loss is added with its weight; the attack leaves the moving statistics alone."""
    steps = list(batches(digits.train, 8, seed=0).take(2))
    attack = fgsm(0.1)
    ours, truth = (
        GenotypeNetwork("racl", channels=4, cells=3, input_shape=(8, 8, 1), auxiliary=True, seed=1) for _ in range(2)
    )
    trainer = make_trainer(ours, AdversarialTraining(attack, 0.7))
    for step in steps:
        trainer.train_step(step)

    def loss_of(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits, auxiliary = truth(images, training=True, auxiliary=True)
        return cross_entropy(logits, labels) + 0.7 * cross_entropy(auxiliary, labels)

    replay(truth, attack, steps, loss_of)
    assert_equal_variables(ours, truth, atol=1e-4)


@pytest.mark.parametrize("defence", [pgd(0.2, 0.08, 3, random_start=False), ADP()], ids=["pgd", "adp"])
def test_two_replicas_equal_one_device(
    defence: Defence | GradientAttack, two_replicas: tf.distribute.Strategy, digits: Dataset
) -> None:
    """Of the same global batches, under an attack without noise and under a defence without attack."""

    def make() -> AdversarialTrainer:
        if not isinstance(defence, ADP):
            return make_trainer(small_network(), defence)
        return make_trainer(Ensemble([small_network(seed) for seed in range(3)]), defence)

    with two_replicas.scope():
        mirrored = make()
    single = make()
    histories = [
        trainer.fit(
            batches(digits.train, 16, seed=0),
            steps_per_epoch=4,
            validation_data=batches(digits.test, 16, seed=0).take(2),
            verbose=0,
        ).history
        for trainer in (mirrored, single)
    ]
    assert_equal_variables(mirrored, single)
    assert histories[0].keys() == histories[1].keys()
    for name, (value,) in histories[0].items():
        assert value == pytest.approx(histories[1][name][0], rel=1e-4), name


def test_weights_that_take_no_part_in_the_loss_only_decay(digits: Dataset) -> None:
    """As the scales of an L2-nonexpansive network do under cross-entropy on its logits."""
    network = L2Nonexpansive(10, channels=2, input_shape=(8, 8, 1))
    trainer = make_trainer(network, None)
    before = [scale.numpy() for scale in (network.class_scales, network.scale, network.matrices[0])]
    trainer.train_step(next(iter(batches(digits.train, 16, seed=0))))
    for scale, value in zip((network.class_scales, network.scale), before, strict=False):
        np.testing.assert_allclose(scale.numpy(), value * (1 - RATE * DECAY), rtol=1e-5)
    assert np.abs(network.matrices[0].numpy() - before[2] * (1 - RATE * DECAY)).max() > 1e-5


def test_validation_by_hand(digits: Dataset) -> None:
    """Accuracy of clean images and, under the attack, robust accuracy, over all of them."""
    network, attack = small_network(), pgd(0.05, 0.02, 3, random_start=False)
    trainer = make_trainer(network, None, validation_attack=attack)
    images, labels = digits.test.images()[:50], digits.test.y[:50]
    logs = trainer.evaluate(images, labels, batch_size=20, verbose=0, return_dict=True)
    attacked = attack(network, images, labels)
    for prefix, inputs in (("", images), ("robust_", attacked)):
        logits = network(inputs)
        assert logs[f"{prefix}accuracy"] == pytest.approx((np.argmax(logits, -1) == labels).mean())
        assert logs[f"{prefix}loss"] == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-4)
    assert logs["robust_loss"] > logs["loss"]
    plain = make_trainer(network, None).evaluate(images, labels, verbose=0, return_dict=True)
    assert plain.keys() == {"loss", "accuracy"}


def test_keras_file_holds_the_whole_state(tmp_path, digits: Dataset) -> None:
    first, second = batches(digits.train, 16, seed=0).take(2)
    trainer = make_trainer(small_network(), pgd(0.2, 0.08, 2), validation_attack=fgsm(0.1))
    trainer.train_step(first)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.models.load_model(tmp_path / "trainer.keras")
    assert loaded.defence == trainer.defence
    assert loaded.validation_attack == trainer.validation_attack
    for model in (trainer, loaded):
        model.train_step(second)
    assert_equal_variables(loaded, trainer, atol=1e-7)


def test_best_network_is_the_most_robust_of_all_epochs(tmp_path) -> None:
    """Including those before an interruption: an epoch that is better than none since is not yet the best.

    Of equal ones it is the first, also where the figure in float32 lies above what the history writes of it.
    """
    path, history = tmp_path / "best.keras", tmp_path / "history.csv"
    figures = [float(np.float32(value)) for value in (0.3, 0.99, 0.4, 0.45, 0.99, 0.995)]
    assert figures[1] > 0.99

    def run(epochs: range) -> None:
        trainer = make_trainer(small_network(), None)
        callbacks: list[keras.callbacks.Callback] = [HistoryFile(history), BestNetwork(path, history)]
        for callback in callbacks:
            callback.set_model(trainer)
        for epoch in epochs:
            trainer.network.layers[-1].bias.assign(np.full(10, float(epoch)))
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            for callback in callbacks:
                callback.on_epoch_end(epoch, {"val_robust_accuracy": figures[epoch]})

    def best_epoch() -> float:
        return float(keras.models.load_model(path).layers[-1].bias.numpy()[0])

    for epochs, best in ((range(3), 1), (range(3, 5), 1), (range(5, 6), 5)):
        run(epochs)
        assert best_epoch() == best
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.keras", "history.csv"]


def test_adversarial_training_makes_digits_robust(digits: Dataset) -> None:
    """At a radius where the plainly trained network is worse than guessing, trained the same way otherwise."""
    attack, judge = pgd(0.2, 0.07, 5), pgd(0.2, 0.05, 10)
    results = {}
    for name, trained_on in (("plain", None), ("adversarial", attack)):
        trainer = AdversarialTrainer(small_network(), trained_on, validation_attack=judge)
        trainer.compile(keras.optimizers.SGD(0.05, momentum=0.9))
        trainer.fit(batches(digits.train, 64, seed=1), steps_per_epoch=22, epochs=12, verbose=0)
        results[name] = trainer.evaluate(digits.test.images(), digits.test.y, verbose=0, return_dict=True)
    assert results["plain"]["accuracy"] > 0.95
    assert results["adversarial"]["accuracy"] > 0.9
    assert results["plain"]["robust_accuracy"] < 0.3
    assert results["adversarial"]["robust_accuracy"] > results["plain"]["robust_accuracy"] + 0.3


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_are_refused(activation: str, dtype: str) -> None:
    head = keras.layers.Dense(10, activation, dtype=dtype)
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), head])
    with pytest.raises(UsageError, match=f"Leave out the model's last {activation}"):
        make_trainer(network, fgsm(0.1))


class NoShape(keras.Model):
    """A network that does not say what images it takes."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.head = keras.layers.Dense(10, activation)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.head(tf.reshape(images, [-1, 64]))


@pytest.mark.parametrize("activation", ["linear", "softmax", "sigmoid"])
def test_probabilities_are_refused_at_the_first_batch_at_the_latest(activation: str, digits: Dataset) -> None:
    network, data = NoShape(activation), digits.train.take(range(8))
    network(data.images())
    trainer = make_trainer(network, fgsm(0.1))
    if activation == "linear":
        trainer.fit(data.images(), data.y, verbose=0)
    else:
        with pytest.raises(UsageError, match=f"Leave out the model's last {activation}"):
            trainer.fit(data.images(), data.y, verbose=0)


def test_a_network_of_bytes_is_refused() -> None:
    network = keras.Sequential([keras.Input((8, 8, 1), dtype="uint8"), keras.layers.Flatten(), keras.layers.Dense(10)])
    with pytest.raises(UsageError, match="The model takes uint8"):
        make_trainer(network, fgsm(0.1))


def test_a_network_that_is_not_built_is_said() -> None:
    with pytest.raises(UsageError, match=r"not built.*Begin it with a keras\.Input"):
        AdversarialTrainer(keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])).compile()


class MeanNetwork(ImageNetwork):
    """A linear classifier of the mean of each channel, the smallest of this package's kind."""

    def __init__(self, spec: ImageSpec, **kwargs) -> None:
        super().__init__(spec, **kwargs)
        self.head = dense_head(self.num_classes, self.image_shape[-1], seed=self.seed, dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.classify(self.normalize(inputs))


def test_networks_are_exported_as_keras_exports(digits: Dataset, tmp_path: pathlib.Path) -> None:
    """By their own `export` and, after training, by the trainer's; for any number of images."""
    network = MeanNetwork(digits.spec)
    trainer = make_trainer(network, None)
    images = digits.train.images(range(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # as Keras warns where a tf.data.Dataset is to be shuffled
        trainer.fit(tf.data.Dataset.from_tensors((images, digits.train.y[:8])), verbose=0)
    models: dict[str, keras.Model] = {"network": network, "trainer": trainer, "ensemble": Ensemble([network, network])}
    for name, model in models.items():
        model.export(tmp_path / name, verbose=False)
        served = tf.saved_model.load(tmp_path / name)
        for count in (1, 8):
            np.testing.assert_allclose(served.serve(images[:count]), model(images[:count]), rtol=1e-5, atol=1e-6)
