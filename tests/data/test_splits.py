import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racl_tf.data import ImageSet, hold_out, split_halves
from racl_tf.data.splits import subset
from racl_tf.errors import UsageError

few_examples = settings(deadline=None, max_examples=40)
class_counts = st.lists(st.integers(2, 30), min_size=1, max_size=8)
seeds = st.integers(0, 2**31 - 1)


def numbered(counts):
    """Images whose pixels are their own number, with `counts[c]` of every class c, mixed up."""
    y = np.random.default_rng(7).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    x = np.arange(len(y) * 3, dtype=np.float32).reshape(len(y), 1, 1, 3) / (3 * len(y))
    return ImageSet(x, y)


def numbers(data):
    return [float(image[0, 0, 0]) for image in data.x]


def assert_partition(whole, first, second) -> None:
    """Every image, still with its label, is in exactly one of the two parts."""
    label_of = dict(zip(numbers(whole), whole.y.tolist(), strict=True))
    parts = numbers(first) + numbers(second)
    assert sorted(parts) == numbers(whole)
    assert [label_of[number] for number in parts] == first.y.tolist() + second.y.tolist()


@few_examples
@given(class_counts, seeds)
def test_halves_are_disjoint_stratified_and_equal(counts, seed) -> None:
    data = numbered(counts)
    first, second = split_halves(data, seed=seed)
    assert_partition(data, first, second)
    assert abs(len(first) - len(second)) <= 1
    per_class = [np.bincount(half.y, minlength=len(counts)) for half in (first, second)]
    assert np.abs(per_class[0] - per_class[1]).max() <= 1


@few_examples
@given(class_counts, seeds, st.data())
def test_hold_out_takes_exactly_the_count_and_every_class_its_share(counts, seed, draw) -> None:
    data = numbered(counts)
    count = draw.draw(st.integers(1, len(data) - len(counts)))
    rest, held_out = hold_out(data, count, seed=seed)
    assert_partition(data, rest, held_out)
    assert len(held_out) == count
    assert np.bincount(rest.y, minlength=len(counts)).min() >= 1
    quotas = count * np.array(counts) / sum(counts)
    taken = np.bincount(held_out.y, minlength=len(counts))
    if (np.ceil(quotas) < counts).all():
        assert (np.abs(taken - quotas) < 1).all()


@few_examples
@given(class_counts, seeds, st.data())
def test_subset_gives_every_class_its_quota_up_to_rounding(counts, seed, draw) -> None:
    data = numbered(counts)
    count = draw.draw(st.integers(1, len(data)))
    part = subset(data, count, seed=seed)
    assert len(part) == count
    assert set(numbers(part)) <= set(numbers(data))
    quotas = count * np.array(counts) / sum(counts)
    assert (np.abs(np.bincount(part.y, minlength=len(counts)) - quotas) < 1).all()


def test_largest_remainder_decides_who_gives_one_more() -> None:
    _, held_out = hold_out(numbered([10, 13, 17]), 10, seed=0)  # quotas 2.5, 3.25 and 4.25
    assert np.bincount(held_out.y).tolist() == [3, 3, 4]


def test_small_classes_keep_one_image_and_large_ones_give_the_difference() -> None:
    rest, held_out = hold_out(numbered([2, 2, 2, 14]), 16, seed=0)
    assert np.bincount(rest.y).tolist() == [1, 1, 1, 1]
    assert np.bincount(held_out.y).tolist() == [1, 1, 1, 13]


@pytest.mark.parametrize(
    "split", [lambda data, seed: split_halves(data, seed=seed), lambda data, seed: hold_out(data, 30, seed=seed)]
)
def test_the_seed_alone_decides(split) -> None:
    data = numbered([20, 20, 20])
    once, again, other = (numbers(split(data, seed)[1]) for seed in (1, 1, 2))
    assert once == again
    assert once != other


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 0, 1], "class 1 has 1:"), ([0, 0, 2, 2, 3], "class 1 has 0, class 3 has 1:")]
)
def test_classes_too_small_to_split_are_named(labels, message) -> None:
    data = ImageSet(np.zeros((len(labels), 1, 1, 1), np.uint8), np.array(labels, np.int32))
    with pytest.raises(UsageError, match=message):
        split_halves(data, seed=0)
    with pytest.raises(UsageError, match=message):
        hold_out(data, 1, seed=0)


@pytest.mark.parametrize("count", [-1, 0, 9, 11])
def test_impossible_counts_are_refused(count) -> None:
    with pytest.raises(UsageError, match=f"Cannot hold out {count} of 10 images in 2 classes: choose 1 to 8"):
        hold_out(numbered([4, 6]), count, seed=0)


@pytest.mark.parametrize("count", [0, 11])
def test_impossible_subsets_are_refused(count) -> None:
    with pytest.raises(UsageError, match=f"Cannot take {count} of 10 images"):
        subset(numbered([4, 6]), count, seed=0)
