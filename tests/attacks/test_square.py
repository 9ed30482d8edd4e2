"""The Square attack against its paper's algorithms, written plainly with slices, and where no gradient helps."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from racl_tf import seeding
from racl_tf.attacks import NORMS, Classifier, image_seeds, pgd
from racl_tf.attacks.noise import uniforms
from racl_tf.attacks.process import Images, advance
from racl_tf.attacks.square import Square, _Square, pattern
from racl_tf.errors import UsageError

ORDER = {"linf": np.inf, "l2": 2}
HEIGHT, WIDTH, CHANNELS = 8, 6, 2
RNG = np.random.default_rng(0)
KERNELS = RNG.normal(size=(HEIGHT * WIDTH * CHANNELS, 8)), RNG.normal(size=(8, 3))
PICTURES = RNG.random((6, HEIGHT, WIDTH, CHANNELS), np.float32)
GREY = np.full((6, HEIGHT, WIDTH, CHANNELS), 0.5, np.float32)


def logits_of(x):
    first, second = (tf.constant(kernel, tf.float32) for kernel in KERNELS)
    return tf.tanh(tf.reshape(x, [-1, first.shape[0]]) @ first / 4) @ second


MODEL = Classifier(logits_of)
LABELS = MODEL.logits(PICTURES).argmax(axis=1)
BARS = Classifier(lambda x: 3 * tf.reduce_sum(x, axis=[1, 3])[:, 1:6:3])


def seeds_of(size, seed=0):
    return image_seeds(seeding.fold(seed, "attack"), tf.range(size))


def batch(x, y):
    y = tf.constant(y, tf.int32)
    return Images(tf.constant(x), y, y, seeds_of(len(x)))


def test_published_schedule() -> None:
    """p is halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10000 steps."""
    full, half = Square(0.1, 10000), Square(0.1, 5000, p_init=0.4)
    for number, last in enumerate([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]):
        assert full.share(last) == 0.8 / 2**number
        assert full.share(last + 1) == 0.4 / 2**number
        assert half.share(last // 2) == 0.4 / 2**number
        assert half.share(last // 2 + 1) == 0.2 / 2**number
    assert full.share(0) == 0.8
    assert full.share(9999) == 0.8 / 512
    unscaled = Square(0.1, 5000, rescale=False)
    assert [unscaled.share(step) for step in range(5000)] == [full.share(step) for step in range(5000)]


@pytest.mark.parametrize(
    ("norm", "shape", "expected"),
    [
        ("linf", (32, 32), [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]),
        ("l2", (32, 32), [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]),
        ("l2", (224, 40), [40, 40, 40, 31, 21, 15, 11, 7, 5, 5]),
        ("l2", (2, 2), 10 * [2]),
    ],
)
def test_sides(norm, shape, expected) -> None:
    assert Square(0.1, norm=norm)._sides(*shape) == expected


def plain_hill(height, width):
    """Eq. 2 with n = floor(max / 2), its sum from the outer ring on."""
    hill, n = np.zeros((height, width)), max(height, width) // 2
    for r in range(height):
        for s in range(width):
            inner = n - max(abs(r - height // 2), abs(s - width // 2))
            hill[r, s] = sum(1 / (n + 1 - k) ** 2 for k in range(inner + 1))
    return hill / np.sqrt((hill**2).sum() or 1)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 12])
def test_pattern(side) -> None:
    half = side // 2
    expected = np.vstack([plain_hill(half, side), -plain_hill(side - half, side)])
    np.testing.assert_allclose(pattern(side), expected / np.linalg.norm(expected), atol=1e-6)
    assert np.linalg.norm(pattern(side)) == pytest.approx(1)


def corners(numbers, side):
    """Where a square begins along each axis: all places are equally likely."""
    return int(numbers[0] * (HEIGHT - side + 1)), int(numbers[1] * (WIDTH - side + 1))


def plain_start(x, seed, norm):
    def numbers(size):
        return uniforms(seed[None], 0, size).numpy()[0]

    if norm == "linf":
        return np.broadcast_to(np.where(numbers(WIDTH * CHANNELS).reshape(WIDTH, CHANNELS) < 0.5, -1, 1), x.shape)
    delta, side = np.zeros_like(x), max(WIDTH // 5, 1)
    rows, columns = HEIGHT // side, WIDTH // side
    drawn = iter(numbers(rows * columns * (1 + CHANNELS)))
    for row in range(rows):
        for column in range(columns):
            tile = pattern(side) if next(drawn) < 0.5 else pattern(side).T
            for channel in range(CHANNELS):
                sign = -1 if next(drawn) < 0.5 else 1
                delta[row * side : (row + 1) * side, column * side : (column + 1) * side, channel] = sign * tile
    return delta / np.linalg.norm(delta)


def plain_change(delta, numbers, *, side, eps, norm):
    """Algorithms 2 and 3 for one perturbation."""
    new = delta.copy()
    row, column = corners(numbers, side)
    window = np.s_[row : row + side, column : column + side]
    if norm == "linf":
        new[window] += np.where(numbers[2:] < 0.5, -2 * eps, 2 * eps)
        return np.clip(new, -eps, eps)
    row, column = corners(numbers[2:], side)
    other = np.s_[row : row + side, column : column + side]
    unused = max(eps**2 - (delta**2).sum(), 0)
    union = np.zeros(delta.shape[:2], bool)
    union[window] = union[other] = True
    new[other] = 0
    for channel in range(CHANNELS):
        old = delta[window][..., channel]
        length = np.linalg.norm(old)
        temporary = old / length if length else 0 * old
        temporary = temporary + (-1 if numbers[5 + channel] < 0.5 else 1) * (
            pattern(side) if numbers[4] < 0.5 else pattern(side).T
        )
        available = np.sqrt((delta[union][:, channel] ** 2).sum() + unused / CHANNELS)
        new[window][..., channel] = temporary / np.linalg.norm(temporary) * available
    return new


def plain_square(x, y, seed, attack):
    """The whole attack on one image: the best of its candidates, and how often a change was kept."""
    first, second = KERNELS
    eps, norm = attack.eps, attack.norm
    best_value, kept = -np.inf, 0
    candidate = np.clip(x + eps * plain_start(x, seed, norm), 0, 1)
    for step in range(attack.steps + 1):
        logits = np.tanh(candidate.ravel() @ first / 4) @ second
        value = np.delete(logits, y).max() - logits[y]
        if value > best_value:
            best, best_value, kept = candidate, value, kept + 1
        side = round(np.sqrt(attack.share(step) * HEIGHT * WIDTH))
        side = max(side, 1) if norm == "linf" else max(side, 3) | 1
        numbers = uniforms(seed[None], step + 1, 5 + CHANNELS).numpy()[0]
        numbers = numbers[: 2 + CHANNELS] if norm == "linf" else numbers
        delta = plain_change(best - x, numbers, side=min(side, HEIGHT, WIDTH), eps=eps, norm=norm)
        candidate = np.clip(x + delta, 0, 1)
    return best, kept


@pytest.mark.parametrize("norm", NORMS)
def test_equals_the_algorithm_of_the_paper(norm) -> None:
    attack = Square({"linf": 0.03, "l2": 0.3}[norm], 60, norm=norm)
    moved, accepted = attack(MODEL, PICTURES, LABELS), []
    for x, y, seed, result in zip(PICTURES.astype(float), LABELS, seeds_of(6), moved, strict=True):
        expected, kept = plain_square(x, y, seed, attack)
        np.testing.assert_allclose(result, expected, atol=1e-4)
        accepted.append(kept)
    assert min(accepted) > 3
    assert max(accepted) < 60


@given(side=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_squares_lie_anywhere_within_the_image(side, seed) -> None:
    edges = np.array([[0.0, 0.0], [1 - 2**-24, 0.0], [0.0, 1 - 2**-24], [1 - 2**-24, 1 - 2**-24]], np.float32)
    numbers = np.concatenate([edges, np.random.default_rng(seed).random((20, 2), np.float32)])
    square = _Square.at(tf.constant(numbers), tf.fill([24], side), HEIGHT, WIDTH)
    mask = square.filled(tf.ones([24, 1])).numpy()[..., 0]
    np.testing.assert_array_equal(mask.sum(axis=(1, 2)), side**2)
    rows, columns = mask.max(axis=2).argmax(axis=1), mask.max(axis=1).argmax(axis=1)
    assert rows[:4].tolist() == [0, HEIGHT - side, 0, HEIGHT - side]
    assert columns[:4].tolist() == [0, 0, WIDTH - side, WIDTH - side]
    placed = square.place(tf.tile(pattern(side)[None], [24, 1, 1]), tf.ones([24, 1])).numpy()[..., 0]
    for image, row, column in zip(placed, rows, columns, strict=True):
        np.testing.assert_array_equal(image[row : row + side, column : column + side], pattern(side))
        assert np.count_nonzero(image) <= side**2


@pytest.mark.parametrize("norm", NORMS)
def test_candidates_use_all_of_eps(norm) -> None:
    """Where the range cuts nothing: every pixel moves by eps in "linf", and the whole norm is eps in "l2"."""
    process = Square(0.2, 40, norm=norm).process(logits_of)
    images = batch(GREY, LABELS)
    state = process.start(images)
    for count in range(0, 40, 5):
        delta = (state.adversarial.numpy() - GREY).reshape(6, -1)
        np.testing.assert_allclose(np.linalg.norm(delta, ord=ORDER[norm], axis=1), 0.2, rtol=1e-5)
        if norm == "linf":
            np.testing.assert_allclose(np.abs(delta), 0.2, rtol=1e-5)
        state = process.step(images, tf.fill([6], count), state)


def test_reaches_the_corner_that_is_best_for_a_linear_model() -> None:
    weights = np.random.default_rng(3).normal(size=(9, 2)).astype(np.float32)
    moved = Square(0.1, 400)(Classifier(lambda x: tf.reshape(x, [-1, 9]) @ weights), GREY[:2, :3, :3, :1], [0, 1])
    away = np.sign(weights[:, 1] - weights[:, 0]).reshape(3, 3, 1)
    np.testing.assert_allclose(moved, 0.5 + 0.1 * np.stack([away, -away]), atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_breaks_what_has_no_gradient(norm) -> None:
    """A model that rounds its input stops PGD and not Square."""
    model = Classifier(lambda x: logits_of(tf.round(20 * x) / 20))
    labels = model.logits(PICTURES).argmax(axis=1)
    eps = {"linf": 0.15, "l2": 1.5}[norm]
    still = pgd(eps, eps / 4, 10, norm=norm, random_start=False)(model, PICTURES, labels)
    np.testing.assert_array_equal(still, PICTURES)
    moved = Square(eps, 150, norm=norm)(model, PICTURES, labels)
    assert (model.logits(moved).argmax(axis=1) == labels).sum() <= 1


@pytest.mark.parametrize("norm", NORMS)
@given(
    x=arrays(np.float32, (3, 5, 7, 1), elements=st.sampled_from([0.0, 0.004, 0.3, 0.996, 1.0])),
    eps=st.floats(0.001, 1),
    seed=st.integers(0, 2**31 - 1),
)
@settings(deadline=None, max_examples=15)
def test_stays_in_the_ball_and_in_range(norm, x, eps, seed) -> None:
    moved = Square(eps, 12, norm=norm)(BARS, x, [0, 1, 0], seed=seed)
    assert moved.min() >= 0
    assert moved.max() <= 1
    difference = (moved.astype(float) - x).reshape(3, -1)
    assert (np.linalg.norm(difference, ord=ORDER[norm], axis=1) <= eps + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_images_do_not_know_their_batch(norm) -> None:
    attack = Square(0.05, 30, norm=norm, restarts=2)
    together = attack(MODEL, PICTURES, LABELS, seed=5)
    np.testing.assert_array_equal(attack(MODEL, PICTURES, LABELS, seed=5), together)
    alone = attack(MODEL, PICTURES[4:5], LABELS[4:5], seed=5, index=[4])
    np.testing.assert_allclose(alone, together[4:5], atol=1e-5)
    assert np.abs(attack(MODEL, PICTURES, LABELS, seed=6) - together).max() > 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_rows_may_be_at_different_steps(norm) -> None:
    """Images that join others after 5 steps, with larger squares then, end as they do alone."""
    eps = {"linf": 0.01, "l2": 0.1}[norm]
    process = Square(eps, 30, norm=norm).process(logits_of)
    everyone = batch(PICTURES, LABELS)

    def pick(rows):
        return tf.nest.map_structure(lambda value: tf.gather(value, rows), everyone)

    def fresh(images):
        return tf.zeros_like(images.y), process.start(images)

    count, state = advance(process, everyone, *fresh(everyone), steps=30, limit=40)
    early = advance(process, pick(range(3)), *fresh(pick(range(3))), steps=30, limit=5)
    mixed = tf.nest.map_structure(lambda *pair: tf.concat(pair, 0), early, fresh(pick(range(3, 6))))
    assert len(set(mixed[0].numpy())) > 1
    mixed_count, mixed_state = advance(process, everyone, *mixed, steps=30, limit=40)
    np.testing.assert_array_equal(mixed_count, count)
    for name, values in state._asdict().items():
        np.testing.assert_allclose(getattr(mixed_state, name), values, atol=1e-5, err_msg=name)


def test_one_trace_for_radii_and_batches() -> None:
    calls = []

    def counted(x):
        calls.append(x)
        return logits_of(x)

    model = Classifier(counted)
    Square(0.1, 3)(model, PICTURES, LABELS)
    traced = len(calls)
    Square(0.2, 3)(model, PICTURES[:3], LABELS[:3], seed=1)
    assert len(calls) == traced


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": 8}, "`eps`.*such as 8/255"),
        ({"norm": "l1"}, "Unknown norm 'l1'"),
        ({"steps": 0}, "`steps`.*positive integer"),
        ({"p_init": 0}, r"`p_init`.*share in \(0, 1\]"),
        ({"p_init": 1.5}, "`p_init`.*Received: p_init=1.5"),
    ],
    ids=str,
)
def test_invalid_attacks(change, message) -> None:
    with pytest.raises(UsageError, match=message):
        Square(**{"eps": 0.1} | change)


def test_only_images_with_three_axes() -> None:
    model = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(UsageError, match=r"squares of images \(H, W, C\).*Received: images of shape \(12,\)"):
        Square(0.1, 3)(model, np.full((2, 12), 0.5), [0, 1])
