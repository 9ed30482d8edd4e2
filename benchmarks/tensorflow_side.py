"""What is measured of racl_tf: python -m benchmarks.tensorflow_side '{"subject": ...}', or by import."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from benchmarks.timing import Actions, serve
from racl_tf import AdversarialTrainer, ConfidenceConstraint, GenotypeNetwork, RACLSearch, Supernet, attacks
from racl_tf.distribution import make_strategy
from racl_tf.lipschitz.surrogate import network_constant

SHAPE = (32, 32, 3)


def random_batch(size: int, *, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images (size, *shape) in [0, 1] and labels (size,) of 10 classes: times do not depend on them."""
    images = tf.random.stateless_uniform([size, *shape], [seed, 0])
    return images, tf.random.stateless_uniform([size], [seed, 1], maxval=10, dtype=tf.int32)


def constant_batches(batch: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensors(batch).repeat()


def training_step(model: keras.Model, data: tf.data.Dataset) -> Callable[[], object]:
    """Returns what `model.fit(data)` runs once a batch."""
    model.make_train_function(force=True)
    function, batches = model.train_function, iter(data)
    return lambda: function(batches)


def make_search(
    channels: int,
    cells: int,
    *,
    constrained: bool = True,
    recompute: bool = False,
    classes: int = 10,
    shape: tuple[int, int, int] = SHAPE,
) -> RACLSearch:
    supernet = Supernet(classes, channels=channels, cells=cells, input_shape=shape)
    supernet.recompute = recompute
    search = RACLSearch(supernet, constraint=ConfidenceConstraint() if constrained else None)
    search.compile()
    return search


def make_trainer(channels: int, cells: int, attack: attacks.GradientAttack | None) -> AdversarialTrainer:
    trainer = AdversarialTrainer(GenotypeNetwork("racl", channels=channels, cells=cells), attack)
    trainer.compile()
    return trainer


def attack_pass(network: keras.Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the gradient with respect to images that a step of an attack takes."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, network(images, training=False))
    return tape.gradient(losses, images)


def constraint_alone(channels: int, cells: int) -> Callable[[], object]:
    """Returns the constraint's share of a step by itself: power iteration, mu_F and sigma_F, gradient, dual."""
    constraint = ConfidenceConstraint(update="printed")
    search = RACLSearch(Supernet(channels=channels, cells=cells), constraint=constraint)

    @tf.function(autograph=False)
    def run() -> list[tf.Tensor]:
        log_norms = search.norms.measure()
        with tf.GradientTape() as tape:
            constant = network_constant(*search.architecture.parameters(), log_norms, search.cell_types)
            constraint.set_target(constant, search.reachable(log_norms))
            state = constraint.evaluate(constant)
            penalty = constraint.penalty(state.violation)
        gradients = tape.gradient(penalty, [variable.value for variable in search.architecture.trainable_variables])
        constraint.update_dual(state.violation)
        return gradients

    return run


def search_actions(
    *, batch: int, channels: int, cells: int, recompute: bool = False, mixed_precision: bool = False
) -> Actions:
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed_precision else "float32")
    data = constant_batches((random_batch(batch), random_batch(batch, seed=1)))
    search = make_search(channels, cells, recompute=recompute)

    @functools.cache
    def phase(searching: bool) -> Callable[[], object]:
        search.searching = searching
        return training_step(search, data)

    @functools.cache  # made when asked for: the peak of memory is to be the search's alone
    def unconstrained() -> Callable[[], object]:
        return training_step(make_search(channels, cells, constrained=False, recompute=recompute), data)

    @functools.cache
    def constraint() -> Callable[[], object]:
        return constraint_alone(channels, cells)

    return {
        "warm-up step": lambda: phase(False)(),
        "step": lambda: phase(True)(),
        "end of phase": phase.cache_clear,  # a run has the step of one phase at a time
        "step without constraint": lambda: unconstrained()(),
        "constraint alone": lambda: constraint()(),
    }


def network_actions(*, batch: int, channels: int, cells: int, genotype: str) -> Actions:
    network = GenotypeNetwork(genotype, channels=channels, cells=cells)
    trainer = AdversarialTrainer(network)  # without an attack: plain training
    trainer.compile()
    images, labels = random_batch(batch)
    forward = tf.function(lambda x: network(x, training=False), autograph=False)
    return {"forward": lambda: forward(images), "step": training_step(trainer, constant_batches((images, labels)))}


def replicated_actions(*, replicas: int, batch: int, channels: int, cells: int) -> Actions:
    """Returns a search step of logical CPUs, each of which takes an equal part of the batch."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    strategy = make_strategy("mirrored" if replicas > 1 else "one_device")
    images = tf.data.Dataset.from_tensor_slices((random_batch(batch), random_batch(batch, seed=1)))
    data = strategy.experimental_distribute_dataset(images.batch(batch, drop_remainder=True).repeat())
    with strategy.scope():
        search = make_search(channels, cells)
        search.searching = True
        return {"step": training_step(search, data)}


def make(case: dict[str, Any]) -> Actions:
    subjects: dict[str, Callable[..., Actions]] = {
        "search": search_actions,
        "network": network_actions,
        "replicas": replicated_actions,
    }
    return subjects[case.pop("subject")](**case)


if __name__ == "__main__":
    serve(make)
