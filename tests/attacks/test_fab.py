"""FAB against closed forms, general solvers and an independent implementation, and its projection on a hyperplane."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize

from racl_tf.attacks import NORMS
from racl_tf.attacks.fab import FAB, to_hyperplane
from racl_tf.attacks.process import Images, advance
from racl_tf.errors import UsageError

ORDERS = {"linf": np.inf, "l2": 2}
HALF = np.full((1, 4), 0.5, np.float32)
ZERO = np.array([0])


def lengths(delta, norm):
    return np.linalg.norm(np.reshape(delta, [len(delta), -1]).astype(float), ord=ORDERS[norm], axis=1)


def project(x, w, gap, norm):
    return to_hyperplane(*(tf.constant(value, tf.float32) for value in (x, w, gap)), norm=norm).numpy()


def smallest_by_solver(x, w, gap, norm):
    """The length of the smallest d with <w, d> = gap and x + d in [0, 1], by a linear program or by SLSQP."""
    if norm == "linf":
        bounded = np.block([[sign * np.eye(len(x)), -np.ones((len(x), 1))] for sign in (1, -1)]).reshape(-1, len(x) + 1)
        box = [*zip(-x, 1 - x, strict=True), (0, None)]
        cost = [0] * len(x) + [1]
        return optimize.linprog(cost, bounded, np.zeros(2 * len(x)), [[*w, 0]], [gap], box).fun
    plane = {"type": "eq", "fun": lambda d: w @ d - gap, "jac": lambda d: w}
    box = list(zip(-x, 1 - x, strict=True))
    options = {"ftol": 1e-14, "maxiter": 500}
    found = optimize.minimize(
        lambda d: d @ d, 0 * x, jac=lambda d: 2 * d, bounds=box, constraints=plane, method="SLSQP", options=options
    )
    assert found.success
    return np.sqrt(found.fun)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_is_as_short_as_a_solver_finds(norm) -> None:
    """At shares of the way to the farthest corner where no pixel, some and nearly all have met the box."""
    rng = np.random.default_rng(0)
    x, w = rng.random((12, 6)), rng.normal(size=(12, 6)) * rng.choice([0, 1, 10], (12, 6), p=[0.2, 0.4, 0.4])
    sign = rng.choice([-1, 1], 12)
    farthest = np.sum(np.abs(w) * np.where(np.sign(w) * sign[:, None] > 0, 1 - x, x), axis=1)
    gap = sign * farthest * np.tile([0.05, 0.5, 0.9, 0.99], 3)
    d = project(x, w, gap[:, None], norm)
    np.testing.assert_allclose(np.sum(w * d, axis=1), gap, rtol=1e-5)
    expected = [smallest_by_solver(*case, norm) for case in zip(x, w, gap, strict=True)]
    np.testing.assert_allclose(lengths(d, norm), expected, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@given(
    x=arrays(np.float32, (2, 5), elements=st.sampled_from([0.0, 1e-7, 0.25, 0.5, 0.996, 1.0])),
    w=arrays(np.float32, (2, 5), elements=st.sampled_from([-3.0, -1.0, -1e-4, 0.0, 1e-6, 0.5, 2.0])),
    gap=arrays(np.float32, (2, 1), elements=st.floats(-4, 4, width=32)),
    scale=st.sampled_from([1.0, 1e-30, 1e30]),
)
@settings(deadline=None, max_examples=100)
def test_projection_lies_in_the_box_on_the_plane_or_at_the_farthest_corner(norm, x, w, gap, scale) -> None:
    d = project(x, w * np.float32(scale), gap * np.float32(scale), norm).astype(float)
    assert (x + d >= -1e-7).all()
    assert (x + d <= 1 + 1e-7).all()
    assert (d[w == 0] == 0).all()
    corner = np.where(w * gap > 0, 1 - x, np.where(w * gap < 0, -x, 0)).astype(float)
    reachable = np.minimum(np.abs(gap[:, 0]), np.sum(np.abs(w * corner), axis=1))
    np.testing.assert_allclose(np.sum(w * d, axis=1), np.sign(gap[:, 0]) * reachable, atol=2e-5)
    beyond = np.abs(gap[:, 0]) > np.sum(np.abs(w * corner), axis=1) * (1 + 1e-5)
    np.testing.assert_array_equal(d[beyond].astype(np.float32), corner[beyond].astype(np.float32))


def positions_on_a_line(steps):
    """FAB on a linear model: multiples of the projection that are shown to the model, 1 being the boundary."""
    here, shown = 0.0, []
    for _ in range(steps):
        near, far = abs(1 - here), 1.0
        alpha = min(near / (near + far), 0.1)
        here = (1 - alpha) * (here + 1.05 * (1 - here)) + alpha * 1.05
        shown.append(here)
        here = 0.9 * here if here > 1 else here
    return shown


@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize(
    ("norm", "projection"), [("linf", [1 / 3, -1 / 3, 1 / 3, 0]), ("l2", np.array([3, -1, 2, 0]) / 7)]
)
def test_linear_model(linear, norm, projection, steps) -> None:
    """w.x over the dual norm of w away, along the steepest direction; overshooting leaves less than 1%."""
    nearest = min(position for position in positions_on_a_line(steps) if position > 1)
    moved = FAB(1.0, steps, norm=norm)(linear, HALF, ZERO)
    np.testing.assert_allclose(moved, HALF - nearest * np.array(projection), atol=1e-5)
    assert nearest == 1.05 if steps == 1 else 1 < nearest < 1.006


@pytest.mark.parametrize("norm", NORMS)
def test_linear_model_at_the_edge_of_the_box(linear, norm) -> None:
    x = np.array([[0.05, 0.1, 0.9, 0.5]], np.float32)
    w = np.array([3.0, -1, 2, 0])
    unbounded = (x[0] @ w) / np.linalg.norm(w, ord={"linf": 1, "l2": 2}[norm])
    expected = smallest_by_solver(x[0].astype(float), w, -(x[0] @ w), norm)
    assert expected > 1.05 * unbounded
    found = lengths(FAB(1.0, 50, norm=norm)(linear, x, ZERO) - x, norm)[0]
    assert expected < found < 1.01 * expected


def plain_projection(x, w, gap, norm):
    """Tries all pieces: the pixels in the order in which they meet the box."""
    weight, room = np.abs(w), np.where(gap * w > 0, 1 - x, x)
    speed = weight if norm == "l2" else np.ones_like(w)
    order = np.argsort(room / speed)
    for met in range(len(x)):
        fixed, free = order[:met], order[met:]
        time = (abs(gap) - weight[fixed] @ room[fixed]) / (weight[free] @ speed[free])
        if time * speed[free[0]] <= room[free[0]]:
            break
    return np.sign(gap * w) * np.minimum(time * speed, room)


def plain_fab(kernels, x, y, steps, norm):
    """The attack on the two-layer network in float64, image by image, derivatives by hand; the likeliest target."""
    first, second = (kernel.astype(float) for kernel in kernels)
    results = []
    for image, label in zip(x, y, strict=True):
        image = image.ravel().astype(float)
        logits = np.tanh(image @ first) @ second
        target = np.argsort(-logits)[1]
        here, nearest, distance = image, image, np.inf
        for _ in range(steps):
            hidden = np.tanh(here @ first)
            column = second[:, target] - second[:, label]
            f, w = hidden @ column, first @ ((1 - hidden**2) * column)
            near = plain_projection(here, w, -f, norm)
            far = plain_projection(image, w, -f - w @ (image - here), norm)
            sizes = [float(np.linalg.norm(d, ord=ORDERS[norm])) for d in (near, far)]
            alpha = min(sizes[0] / sum(sizes), 0.1)
            here = np.clip((1 - alpha) * (here + 1.05 * near) + alpha * (image + 1.05 * far), 0, 1)
            if np.argmax(np.tanh(here @ first) @ second) != label:
                if (moved := float(np.linalg.norm(here - image, ord=ORDERS[norm]))) < distance:
                    nearest, distance = here, moved
                here = image + 0.9 * (here - image)
        results.append(nearest)
    return np.reshape(results, x.shape)


@pytest.mark.parametrize("norm", NORMS)
def test_equals_a_plain_implementation(network, kernels, images, norm) -> None:
    labels = network(images).numpy().argmax(axis=1)
    moved = FAB(1.0 if norm == "linf" else 9.0, 12, norm=norm, targets=1)(network, images, labels)
    np.testing.assert_allclose(moved, plain_fab(kernels, images, labels, 12, norm), atol=1e-4)
    assert (network(moved).numpy().argmax(axis=1) != labels).mean() > 0.5


@pytest.mark.parametrize("norm", NORMS)
def test_eps_only_decides_what_counts(network, images, norm) -> None:
    labels = network(images).numpy().argmax(axis=1)
    everything = FAB(1.0 if norm == "linf" else 9.0, 8, norm=norm, targets=1)(network, images, labels)
    distance = lengths(everything - images, norm)
    eps = float(np.median(distance[distance > 0])) + 1e-6
    near = FAB(eps, 8, norm=norm, targets=1)(network, images, labels)
    counts = (distance > 0) & (distance <= eps)
    assert 0 < counts.sum() < len(images)
    np.testing.assert_array_equal(near[counts], everything[counts])
    np.testing.assert_array_equal(near[~counts], images[~counts])


@pytest.mark.parametrize("norm", NORMS)
@given(x=arrays(np.float32, (3, 12), elements=st.sampled_from([0.0, 0.004, 0.3, 0.996, 1.0])), eps=st.floats(0.01, 1))
@settings(deadline=None, max_examples=15)
def test_stays_in_the_ball_and_in_range_and_leaves_the_label(norm, x, eps) -> None:
    labels = NETWORK(x).numpy().argmax(axis=1)
    moved = FAB(eps, 4, norm=norm, targets=3)(NETWORK, x, labels)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert (lengths(moved - x, norm) <= eps + 1e-6).all()
    np.testing.assert_array_equal((moved != x).any(axis=1), NETWORK(moved).numpy().argmax(axis=1) != labels)


def dense_network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input([12]), keras.layers.Dense(16, "tanh"), keras.layers.Dense(4)])


NETWORK = dense_network()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("logits", [lambda x: 0 * x[:, :2], lambda x: tf.constant([[1.0, 0.0]])], ids=["zero", "none"])
def test_zero_gradient_leaves_the_image(norm, logits) -> None:
    x = tf.constant([[0.1, 0.7, 1.0]])
    process = FAB(0.1, norm=norm).process(logits)
    images = Images(x, tf.constant([0]), tf.constant([1]), tf.constant([[0, 0]]))
    state = process.start(images)
    for count in range(3):
        state = process.step(images, tf.constant([count]), state)
    np.testing.assert_array_equal(state.adversarial, x)
    np.testing.assert_array_equal(process.finish(images, state), x)


def test_an_image_misclassified_clean_is_its_own_result(network, images) -> None:
    labels = (network(images).numpy().argmax(axis=1) + 1) % 4
    np.testing.assert_array_equal(FAB(0.5, 5)(network, images, labels), images)


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_does_not_know_its_batch(network, images, labels, norm) -> None:
    attack = FAB(0.5, 5, norm=norm, targets=2)
    together = attack(network, images, labels, seed=5)
    uneven = [attack(network, images[i], labels[i], seed=5, index=i) for i in (np.arange(3, 7), np.arange(3))]
    np.testing.assert_allclose(np.concatenate(uneven[::-1]), together, atol=1e-5)


def test_there_is_no_noise(network, images, labels) -> None:
    one, other = (FAB(0.5, 2)(network, images, labels, seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(one, other)


def test_rows_at_different_steps_end_as_they_do_alone(network, images) -> None:
    """And an adversarial image is misclassified, in the ball, and stays as it was shown."""
    labels = network(images).numpy().argmax(axis=1).astype(np.int32)
    targets = network(images).numpy().argsort(axis=1)[:, -2].astype(np.int32)
    eps, steps = 0.15, 9
    process = FAB(eps).process(network)

    def batch(rows):
        x, y, target = (tf.constant(values[rows]) for values in (images, labels, targets))
        return Images(x, y, target, tf.zeros([len(rows), 2], tf.int32))

    def go(rows, start, limit):
        count, state = start
        return advance(process, batch(rows), count, state, steps=steps, limit=limit)

    def begin(rows):
        return tf.zeros(len(rows), tf.int32), process.start(batch(rows))

    early, late = [0, 1, 2], [3, 4, 5, 6]
    mixed = tf.nest.map_structure(lambda *pair: tf.concat(pair, 0), go(early, begin(early), 4), begin(late))
    count, state = go(early + late, mixed, 99)
    alone = [go([row], begin([row]), 99) for row in range(7)]
    np.testing.assert_array_equal(count, np.concatenate([count for count, _ in alone]))
    found = np.concatenate([state.adversarial for _, state in alone])
    np.testing.assert_allclose(state.adversarial, found, atol=1e-5)
    is_adversarial = state.is_adversarial.numpy()
    assert 0 < is_adversarial.sum() < 7
    assert (network(found[is_adversarial]).numpy().argmax(axis=1) != labels[is_adversarial]).all()
    assert (lengths(found - images, "linf")[is_adversarial] <= eps).all()
    np.testing.assert_array_equal(count.numpy()[~is_adversarial], steps + 1)


@pytest.mark.parametrize("options", [{"targets": 0}, {"norm": "l1"}, {"steps": 0}], ids=str)
def test_invalid_values_are_named(options) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        FAB(0.1, **options)
