"""Auto-PGD against closed forms and Algorithm 1 of its paper, written plainly."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from racl_tf import seeding
from racl_tf.attacks import LOSSES, NORMS, Classifier, image_seeds, pgd
from racl_tf.attacks.apgd import APGD
from racl_tf.attacks.process import Images, advance, run
from racl_tf.errors import UsageError

HALF = np.full((1, 4), 0.5, np.float32)
ZERO = np.array([0])


def batch(x, y, *, target=None, seed=0):
    seeds = image_seeds(seeding.fold(seed, "attack"), tf.range(len(x)))
    y = tf.constant(y, tf.int32)
    return Images(tf.constant(x), y, y if target is None else tf.constant(target, tf.int32), seeds)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, (22, 41, 57, 70, 80, 87, 93, 99)),
        (1000, (220, 410, 570, 700, 800, 870, 930, 990)),
        (10, (3, 5, 6, 7, 8, 9, 10)),
        (1, (1,)),
    ],
)
def test_published_checkpoints(steps, expected) -> None:
    assert APGD(0.1, steps).checkpoints == expected


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("linf", 0.5 - 0.1 * np.sign([3, -1, 2])), ("l2", 0.5 - 0.1 * np.array([3, -1, 2]) / 14**0.5)],
)
def test_reaches_the_maximiser_of_a_linear_model(linear, norm, expected) -> None:
    moved = APGD(0.1, 30, norm=norm)(linear, HALF, ZERO)
    np.testing.assert_allclose(moved[0, :3], expected, atol=5e-5)


def test_steps_shrink_where_nothing_rises() -> None:
    """At each of the 8 checkpoints the step size is halved, and the image stays at its start."""
    process = APGD(0.1, 100).process(lambda x: 0 * x[:, :3])
    images = batch(HALF, ZERO)
    first = process.start(images)
    _, state = advance(process, images, tf.constant([0]), first, steps=100, limit=200)
    assert state.step_size.numpy() == 2 / 2**8
    np.testing.assert_array_equal(state.adversarial, first.adversarial)


# What the loss does in each window of 100 steps, and whether its end halves the step size.
WINDOWS: list[tuple[str, Sequence[float], bool]] = [
    ("rises in every move", 22 * [1], False),
    ("does not reach the best, after a window that did not halve", [-9, *18 * [0.1]], True),
    ("does not reach the best, after a window that halved", [-9, *15 * [0.1]], False),
    ("does not reach the best, after a window that did not halve", [-9, *12 * [0.1]], True),
    ("rises in 8 of 10 moves", [20, *7 * [1], -1, -1], False),
    ("rises in 5 of 7 moves", [*5 * [1], -1, -1], True),
    ("rises in 5 of 6 moves", [*5 * [1], -1], False),
    ("rises in 4 of 6 moves", [*4 * [2], -1, -1], True),
]


def test_both_conditions_for_halving() -> None:
    """A model whose loss follows a script whatever the image shows what each condition does."""
    values = [0.0]
    expected: list[bool] = []
    for _, moves, halve in WINDOWS:
        here = max(values) if expected and expected[-1] else values[-1]  # a halving goes back to the best
        values += [here + rise for rise in np.cumsum(moves)]
        expected.append(halve)
    process = APGD(0.1, 100, loss="margin").process(
        lambda x: tf.stack([0 * x[:, 0], 0 * x[:, 0] + values[shown]], axis=1)
    )
    images = batch(HALF, ZERO)
    state, sizes = process.start(images), []
    for shown in range(100):
        state = process.step(images, tf.constant([shown]), state)
        if shown in APGD(0.1, 100).checkpoints:
            sizes.append(float(state.step_size[0]))
    np.testing.assert_array_equal(sizes, 2 / 2.0 ** np.cumsum(expected))


def plain_loss(kernels, x, *, y, loss):
    """The loss of the two-layer network at one image in float64, and its gradient by hand."""
    first, second = kernels
    hidden = np.tanh(x @ first)
    logits, unit = hidden @ second, np.eye(4)
    if loss == "cross_entropy":
        scores = np.exp(logits - logits.max())
        value, slope = np.log(scores.sum() / scores[y]), scores / scores.sum() - unit[y]
    else:
        top, second_best, third = np.argsort(-logits)[:3]
        other = top if top != y else second_best
        above, span = logits[other] - logits[y], logits[top] - logits[third]
        value, slope = above / span, (unit[other] - unit[y]) / span - above / span**2 * (unit[top] - unit[third])
    return value, first @ ((1 - hidden**2) * (second @ slope))


def plain_apgd(f, x, start, *, eps, norm, steps):
    """Algorithm 1 for one image: its best point, and whether the step size was halved, for each checkpoint."""

    def project(delta):
        length = np.linalg.norm(delta)
        delta = np.clip(delta, -eps, eps) if norm == "linf" else delta * (eps / length if length > eps else 1)
        return np.clip(x + delta, 0, 1)

    shares = [0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    checkpoints = {int(np.ceil(round(share * steps, 6))) for share in shares[1:]}
    before = point = start
    halvings: list[bool] = []
    eta, trail, came_from, rises, last, best_then = 2 * eps, [], np.inf, 0, 0, None
    for k in range(steps + 1):
        value, gradient = f(point)
        trail.append((value, point, gradient))
        best = max(trail, key=lambda seen: seen[0])
        rises += value > came_from
        if k in checkpoints:
            stuck = halvings and not halvings[-1] and best[0] == best_then
            halvings.append(bool(rises < 0.75 * (k - last) or stuck))
            rises, last, best_then = 0, k, best[0]
            if halvings[-1]:
                eta /= 2
                value, point, gradient = best
        steepest = np.sign(gradient) if norm == "linf" else gradient / (np.linalg.norm(gradient) or 1)
        new = z = project(point + eta * steepest - x)
        if k > 0:
            new = project(point + 0.75 * (z - point) + 0.25 * (point - before) - x)
        before, point, came_from = point, new, value
    return best[1], halvings


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize("steps", [1, 7, 25])
def test_equals_the_algorithm_of_the_paper(network, kernels, images, norm, loss, steps) -> None:
    """All losses agree. Of points whose losses differ by rounding alone, either may be taken for the best."""
    labels = network(images).numpy().argmax(axis=1)
    attack = APGD(0.1, steps, norm=norm, loss=loss)
    start = attack.process(network).start(batch(images, labels, seed=3)).adversarial.numpy()
    moved = attack(network, images, labels, seed=3)
    kernels = [kernel.astype(float) for kernel in kernels]
    close, halvings = [], []
    for x, y, first, result in zip(
        *(a.reshape(7, -1).astype(float) for a in (images, labels, start, moved)), strict=True
    ):
        f = partial(plain_loss, kernels, y=int(y[0]), loss=loss)
        expected, halved = plain_apgd(f, x, first, eps=0.1, norm=norm, steps=steps)
        assert f(result)[0] == pytest.approx(f(expected)[0], abs=1e-5)
        close.append(np.abs(result - expected).max() < 1e-4)
        halvings += halved
    assert sum(close) >= 5
    assert steps < 25 or set(halvings) == {True, False}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_raises_the_loss_at_least_as_much_as_pgd(network, images, labels, norm, loss) -> None:
    objective = LOSSES[loss][0]
    values = [
        objective(network(attack(network, images, labels)), tf.constant(labels)).numpy()
        for attack in (APGD(0.1, 20, norm=norm, loss=loss), pgd(0.1, 0.025, 20, norm=norm, loss=loss))
    ]
    assert (values[0] >= values[1] - 1e-3).mean() > 0.8
    assert values[0].mean() > values[1].mean() - 1e-4


@pytest.mark.parametrize("norm", NORMS)
@given(
    x=arrays(np.float32, (3, 12), elements=st.sampled_from([0.0, 0.004, 0.3, 0.996, 1.0])),
    eps=st.floats(0.001, 1),
    steps=st.sampled_from([1, 6]),
    seed=st.integers(0, 2**31 - 1),
)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stays_in_the_ball_and_in_range(network, norm, x, eps, steps, seed) -> None:
    moved = APGD(eps, steps, norm=norm)(network, x, [0, 1, 2], seed=seed)
    assert moved.min() >= 0
    assert moved.max() <= 1
    order = {"linf": np.inf, "l2": 2}[norm]
    assert (np.linalg.norm(moved.astype(float) - x, ord=order, axis=1) <= eps + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_starts_on_the_sphere(network, norm) -> None:
    """Where the range cuts nothing, at distance eps in a direction without preference."""
    grey = np.full((500, 2, 2, 3), 0.5, np.float32)
    images = batch(grey, np.zeros(500))
    start = APGD(0.1, norm=norm).process(network).start(images).adversarial.numpy()
    moves, order = (start - grey).reshape(500, 12), {"linf": np.inf, "l2": 2}[norm]
    np.testing.assert_allclose(np.linalg.norm(moves, ord=order, axis=1), 0.1, rtol=1e-5)
    assert (np.abs(moves.mean(axis=0)) < 4 * moves.std() / 500**0.5).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("options", [{}, {"loss": "dlr", "targets": 3}], ids=str)
def test_images_do_not_know_their_batch(network, images, labels, norm, options) -> None:
    attack = APGD(0.1, 6, norm=norm, restarts=2, **options)
    together = attack(network, images, labels, seed=5)
    np.testing.assert_array_equal(attack(network, images, labels, seed=5), together)
    alone = attack(network, images[4:5], labels[4:5], seed=5, index=[4])
    np.testing.assert_allclose(alone, together[4:5], atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_rows_may_be_at_different_steps(network, images, labels, norm) -> None:
    """Images that join others after 5 steps end as they do alone."""
    process = APGD(0.02, 12, norm=norm).process(network)
    everyone = batch(images, labels)

    def pick(rows):
        return tf.nest.map_structure(lambda value: tf.gather(value, rows), everyone)

    def fresh(images):
        return tf.zeros_like(images.y), process.start(images)

    count, state = advance(process, everyone, *fresh(everyone), steps=12, limit=20)
    early = advance(process, pick(range(4)), *fresh(pick(range(4))), steps=12, limit=5)
    mixed = tf.nest.map_structure(lambda *pair: tf.concat(pair, 0), early, fresh(pick(range(4, 7))))
    assert len(set(mixed[0].numpy())) > 1
    mixed_count, mixed_state = advance(process, everyone, *mixed, steps=12, limit=20)
    np.testing.assert_array_equal(mixed_count, count)
    for name, values in state._asdict().items():
        np.testing.assert_allclose(getattr(mixed_state, name), values, atol=1e-5, err_msg=name)
    assert 0 < state.is_adversarial.numpy().sum() < 7


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.55), ("l2", 0.9)])
def test_a_run_reaches_its_target(norm, eps) -> None:
    """Where the logits are the four pixels themselves, every class is in reach."""
    pixels = np.random.default_rng(0).random((30, 4), np.float32)
    labels, targets = pixels.argmax(axis=1), np.arange(30) % 4
    process = APGD(eps, 20, norm=norm, loss="dlr", targets=3).process(lambda x: x)
    moved = run(process, batch(pixels, labels, target=targets), 20).numpy()
    np.testing.assert_array_equal(moved.argmax(axis=1), targets)


def test_means_over_evaluations_of_a_random_model() -> None:
    """Odd evaluations have the gradient w + n, even ones w - n: only their mean shows the way."""
    w, n = np.array([[3, -1, 2, 1]], np.float32), np.array([[-9, 9, -9, 9]], np.float32)
    calls = tf.Variable(0)

    def logits_of(x):
        sign = tf.cast(2 * (calls.assign_add(1) % 2) - 1, tf.float32)
        score = tf.reduce_sum((w + sign * n) * x, axis=1)
        return tf.stack([score, tf.zeros_like(score)], axis=1)

    results = {}
    for eot in (1, 4):
        calls.assign(0)
        attack = APGD(0.1, 12, loss="margin", eot=eot)
        results[eot] = attack.perturb(logits_of, tf.constant(HALF), tf.constant(ZERO), tf.constant([[1, 2]])).numpy()
        assert calls.numpy() == 13 * eot
    assert results[1] @ w[0] > results[4] @ w[0] + 0.1
    np.testing.assert_allclose(results[4], HALF - 0.1 * np.sign(w), atol=1e-6)


def test_one_trace_for_radii_and_batches(network, images, labels) -> None:
    calls = []

    def counted(x):
        calls.append(x)
        return network(x)

    model = Classifier(counted)
    APGD(0.1, 3)(model, images, labels)
    traced = len(calls)
    APGD(0.2, 3)(model, images[:3], labels[:3], seed=1)
    assert len(calls) == traced


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": 8}, "`eps`.*such as 8/255"),
        ({"norm": "l1"}, "Unknown norm 'l1'"),
        ({"loss": "ce"}, "Unknown loss 'ce'"),
        ({"targets": -1}, "`targets`.*at least 0.*Received: targets=-1"),
        ({"targets": True}, "`targets`"),
        ({"eot": 0}, "`eot`.*positive integer"),
        ({"restarts": 0}, "`restarts`.*positive integer"),
    ],
    ids=str,
)
def test_invalid_attacks(change, message) -> None:
    with pytest.raises(UsageError, match=message):
        APGD(**{"eps": 0.1} | change)
