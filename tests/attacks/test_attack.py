"""Attacks against known answers, an independent implementation, and what no attack may do."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from racl_tf import seeding
from racl_tf.attacks import APGD, FAB, LOSSES, NORMS, GradientAttack, Square, fgsm, image_seeds, mim, pgd
from racl_tf.errors import UsageError

HALF = np.full((1, 4), 0.5, np.float32)
ZERO = np.array([0])


def loss_of(model, x, y):
    return float(keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)[0])


class Hill(keras.Model):
    """logits (0, 4u - 40u^2 + v), (u, v) = x - 1/2."""

    def call(self, x):
        u, v = x[:, 0] - 0.5, x[:, 1] - 0.5
        return keras.ops.stack([keras.ops.zeros_like(u), 4 * u - 40 * u**2 + v], axis=1)


def test_fgsm_on_a_linear_model(linear) -> None:
    moved = fgsm(0.1)(linear, HALF, ZERO)
    np.testing.assert_allclose(moved, [[0.4, 0.6, 0.4, 0.5]], atol=1e-6)
    assert loss_of(linear, moved, ZERO) == pytest.approx(0.220417, abs=1e-6)


def test_l2_pgd_on_a_linear_model(linear) -> None:
    moved = pgd(0.5, 0.1, 20, norm="l2", random_start=False)(linear, HALF, ZERO)
    np.testing.assert_allclose(moved, [[0.099108, 0.633631, 0.232739, 0.5]], atol=1e-6)
    assert loss_of(linear, moved, ZERO) == pytest.approx(0.630646, abs=1e-6)


@pytest.mark.parametrize(("norm", "radius"), [("linf", 1 / 3), ("l2", 2 / 14**0.5)])
def test_a_linear_model_falls_at_its_distance(linear, norm, radius) -> None:
    """The distance of x to the boundary is w.x over the dual norm of w."""
    stands = [
        linear(pgd(eps, eps / 5, 40, norm=norm)(linear, HALF, ZERO)).numpy().argmax() == 0
        for eps in (radius - 1e-3, radius + 1e-3)
    ]
    assert stands == [True, False]


@pytest.mark.parametrize(("steps", "expected"), [(3, [[0.62, 0.62]]), (4, [[0.58, 0.66]])])
def test_momentum_accumulates_raw_gradients(steps, expected) -> None:
    """Momentum of the gradients' signs would end at (.62, .66) after 4 steps."""
    moved = mim(0.3, 0.04, steps)(Hill(), HALF[:, :2], ZERO)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def plain_attack(kernels, x, y, attack, start):
    """The attack on cross-entropy for the two-layer network in float64, image by image, derivatives by hand."""
    first, second = (kernel.astype(float) for kernel in kernels)
    results = []
    for image, label, moved in zip(x, y, start, strict=True):
        image, moved = image.ravel().astype(float), moved.ravel().astype(float)
        momentum = np.zeros_like(moved)
        for _ in range(attack.steps):
            hidden = np.tanh(moved @ first)
            scores = np.exp(hidden @ second)
            gradient = first @ ((1 - hidden**2) * (second @ (scores / scores.sum() - np.eye(4)[label])))
            if attack.targeted:
                gradient = -gradient
            if attack.decay:
                gradient = momentum = attack.decay * momentum + gradient / np.abs(gradient).sum()
            if attack.norm == "linf":
                moved = moved + attack.step_size * np.sign(gradient)
                moved = np.clip(moved, image - attack.eps, image + attack.eps)
            else:
                moved = moved + attack.step_size * gradient / np.sqrt(gradient @ gradient)
                delta = moved - image
                moved = image + delta * min(1, attack.eps / np.sqrt(delta @ delta))
            moved = np.clip(moved, 0, 1)
        results.append(moved)
    return np.reshape(results, x.shape)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "options", [{}, {"decay": 1.0}, {"decay": 0.5, "targeted": True}, {"random_start": True}], ids=str
)
def test_equals_a_plain_implementation(network, kernels, images, labels, norm, options) -> None:
    attack = GradientAttack(0.2, 0.03, 9, norm=norm, **options)
    start = images
    if attack.random_start:
        seeds = image_seeds(seeding.fold(3, "attack"), np.arange(7))
        start = np.clip(images + NORMS[norm].start(seeds, tf.constant(images), 0.2), 0, 1)
    expected = plain_attack(kernels, images, labels, attack, start)
    np.testing.assert_allclose(attack(network, images, labels, seed=3), expected, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@given(
    x=arrays(np.float32, (3, 12), elements=st.sampled_from([0.0, 0.004, 0.3, 0.996, 1.0])),
    eps=st.floats(0.001, 1),
    step_size=st.floats(0.001, 2),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**31 - 1),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stays_in_the_ball_and_in_range(network, norm, x, eps, step_size, steps, seed) -> None:
    moved = pgd(eps, step_size, steps, norm=norm, decay=0.9)(network, x, [0, 1, 2], seed=seed)
    assert moved.min() >= 0
    assert moved.max() <= 1
    order = {"linf": np.inf, "l2": 2}[norm]
    assert (np.linalg.norm(moved.astype(float) - x, ord=order, axis=1) <= eps + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("decay", [0.0, 1.0])
@pytest.mark.parametrize("logits", [lambda x: 0 * x[:, :2], lambda x: tf.constant([[1.0, 0.0]])], ids=["zero", "none"])
def test_zero_gradient_leaves_the_image(norm, decay, logits) -> None:
    x = tf.constant([[0.1, 0.7, 1.0]])
    moved = GradientAttack(0.1, 0.05, 3, norm=norm, decay=decay).perturb(
        logits, x, tf.constant([0]), tf.constant([[0, 0]])
    )
    np.testing.assert_array_equal(moved, x)


def test_saturated_model_is_moved_by_the_margin_alone(linear) -> None:
    linear.dense[0].kernel.assign(1000 * linear.dense[0].kernel)
    np.testing.assert_array_equal(fgsm(0.1)(linear, HALF, ZERO), HALF)
    np.testing.assert_allclose(fgsm(0.1, loss="margin")(linear, HALF, ZERO), [[0.4, 0.6, 0.4, 0.5]], atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_targeted_reaches_its_target(network, images, loss) -> None:
    targets = np.full(7, 3)
    moved = GradientAttack(0.5, 0.05, 40, loss=loss, targeted=True)(network, images, targets)
    before, after = (network(x).numpy().argmax(axis=1) == 3 for x in (images, moved))
    assert after.mean() >= 0.8 > 0.5 > before.mean()


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_does_not_know_its_batch(network, images, labels, norm) -> None:
    attack = pgd(0.1, 0.03, 4, norm=norm, decay=1.0, restarts=2)
    together = attack(network, images, labels, seed=5)
    uneven = [attack(network, images[i], labels[i], seed=5, index=i) for i in (np.arange(3, 7), np.arange(3))]
    np.testing.assert_allclose(np.concatenate(uneven[::-1]), together, atol=1e-6)
    alone = attack(network, images[4:5], labels[4:5], seed=5, index=[4])
    np.testing.assert_allclose(alone, together[4:5], atol=1e-6)
    assert not np.allclose(attack(network, images[4:5], labels[4:5], seed=5), together[4:5], atol=1e-3)


def test_seed_decides_the_noise(network, images, labels) -> None:
    attack = pgd(0.1, 0.01, 1)
    first = attack(network, images, labels, seed=1)
    np.testing.assert_array_equal(attack(network, images, labels, seed=1), first)
    assert np.abs(attack(network, images, labels, seed=2) - first).max() > 0.05


class Waves(keras.Model):
    """A loss with several maxima, so that it matters where an attack starts."""

    def call(self, x):
        score = keras.ops.sum(keras.ops.sin(40 * x) * (1 + x), axis=1)
        return keras.ops.stack([keras.ops.zeros_like(score), score], axis=1)


def test_restarts_keep_the_best_of_each_image() -> None:
    x = np.random.default_rng(0).random((20, 4), np.float32)
    y = np.zeros(20, int)
    model = Waves()
    margins = [model(pgd(0.3, 0.02, 8, restarts=restarts)(model, x, y)).numpy() @ [-1, 1] for restarts in (1, 2, 6)]
    assert (np.diff(margins, axis=0) >= -1e-5).all()
    assert ((margins[2] - margins[0]) > 0.1).mean() > 0.5


def test_perturb_lets_no_gradient_out(network, images, labels) -> None:
    x = tf.constant(images)

    @tf.function(autograph=False)
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            seeds = image_seeds(seeding.fold(0, "attack"), tf.range(7))
            moved = pgd(0.1, 0.03, 3, restarts=2).perturb(network, x, tf.constant(labels), seeds)
            total = tf.reduce_sum(moved)
        return tape.gradient(total, [x, *network.trainable_variables])

    assert gradients() == [None] * 3


def test_perturb_in_the_replicas_equals_the_call(network, images, labels) -> None:
    strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")[:2]])
    attack = pgd(0.1, 0.03, 3)
    halves = np.array_split(np.arange(6), strategy.num_replicas_in_sync)

    def distributed(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[halves[context.replica_id_in_sync_group]])
        )

    def replica(x, y, index):
        return attack.perturb(network, x, y, image_seeds(seeding.fold(0, "attack"), index))

    arguments = tuple(distributed(values) for values in (images, labels, np.arange(6)))
    moved = tf.function(lambda *values: strategy.run(replica, values), autograph=False)(*arguments)
    expected = attack(network, images[:6], labels[:6])
    np.testing.assert_allclose(np.concatenate(strategy.experimental_local_results(moved)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": 0}, r"`eps`.*radius in \(0, 1\].*Received: eps=0"),
        ({"eps": 8}, r"`eps`.*such as 8/255.*Received: eps=8"),
        ({"eps": float("nan"), "norm": "l2"}, "`eps`.*positive radius"),
        ({"step_size": -0.1}, "`step_size`.*Received: step_size=-0.1"),
        ({"steps": 0}, "`steps`.*positive integer"),
        ({"steps": 2.5}, "`steps`.*positive integer"),
        ({"decay": -1}, "`decay`.*at least 0"),
        ({"restarts": 3}, "`restarts`.*random_start"),
        ({"norm": "l1"}, "Unknown norm 'l1'. Did you mean 'l2'"),
        ({"loss": "dl"}, "Unknown loss 'dl'. Did you mean 'dlr'"),
    ],
    ids=str,
)
def test_invalid_attacks(change, message) -> None:
    with pytest.raises(UsageError, match=message):
        GradientAttack(**{"eps": 0.1, "step_size": 0.02, "steps": 3} | change)


def test_l2_eps_may_exceed_1() -> None:
    assert GradientAttack(3.0, 0.5, 1, norm="l2").eps == 3.0


Subclass = GradientAttack | APGD | FAB | Square
ALL: list[Subclass] = [
    GradientAttack(0.1, 0.02, 3, norm="l2", decay=0.5),
    APGD(0.1, loss="dlr"),
    FAB(0.1, 7),
    Square(0.1, 9),
]


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: type(attack).__name__)
def test_static_fields_and_dynamic_values_make_up_the_attack(attack: Subclass) -> None:
    """Bound to tensors it is the attack with its dynamic fields being those, and all others as they were."""
    values = attack.dynamic_values
    bound = attack.static.bind(values)
    assert type(bound) is type(attack)
    assert values.keys() == attack.dynamic.keys()
    for field in dataclasses.fields(attack):
        given = getattr(bound, field.name)
        if field.name in attack.dynamic:
            assert given is values[field.name]
            assert given.dtype == attack.dynamic[field.name]
            assert given.numpy() == np.float32(getattr(attack, field.name))
        else:
            assert given == getattr(attack, field.name)


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: type(attack).__name__)
def test_dynamic_values_alone_do_not_change_the_static_attack(attack: Subclass) -> None:
    same = attack.at_radius(0.2)
    assert same.static == attack.static
    assert hash(same.static) == hash(attack.static)
    assert dataclasses.replace(attack, norm={"linf": "l2", "l2": "linf"}[attack.norm]).static != attack.static
    assert len({other.static for other in ALL}) == len(ALL)


def test_lengths_keep_their_ratio_to_the_radius() -> None:
    assert pgd(0.1, 0.02, 3, loss="margin").at_radius(0.2) == pgd(0.2, 0.02 * 0.2 / 0.1, 3, loss="margin")
    assert APGD(0.1, 5).at_radius(0.2) == APGD(0.2, 5)
    with pytest.raises(UsageError, match="`eps`"):
        fgsm(0.1).at_radius(2.0)


def test_pgd_follows_the_mean_over_evaluations_of_a_random_model() -> None:
    """Odd evaluations have the gradient w + n, even ones w - n: only their mean shows the way."""
    w, n = np.array([[3, -1, 2, 1]], np.float32), np.array([[-9, 9, -9, 9]], np.float32)
    calls = tf.Variable(0)

    def logits_of(x: tf.Tensor) -> tf.Tensor:
        sign = tf.cast(2 * (calls.assign_add(1) % 2) - 1, tf.float32)
        score = tf.reduce_sum((w + sign * n) * x, axis=1)
        return tf.stack([score, tf.zeros_like(score)], axis=1)

    half, results = np.full((1, 4), 0.5, np.float32), {}
    for eot in (1, 4):
        calls.assign(0)
        attack = pgd(0.1, 0.03, 9, loss="margin", random_start=False, eot=eot)
        results[eot] = attack.perturb(logits_of, tf.constant(half), tf.constant([0]), tf.constant([[1, 2]])).numpy()
        assert calls.numpy() == 9 * eot
    assert results[1] @ w[0] > results[4] @ w[0] + 0.1
    np.testing.assert_allclose(results[4], half - 0.1 * np.sign(w), atol=1e-6)


def test_evaluations_for_a_mean_are_positive() -> None:
    with pytest.raises(UsageError, match=r"`eot`.*positive integer"):
        pgd(0.1, 0.03, 9, eot=0)
