"""Sampling architectures: known distributions, what is measured, and that the search stays as it is."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import pgd
from racl_tf.data import ImageSet, load_dataset
from racl_tf.errors import UsageError
from racl_tf.networks.supernet import Supernet
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.point_architecture import PointArchitecture
from racl_tf.search.racl_search import RACLSearch
from racl_tf.search.sampling import DiscreteSupernet, draw_genotypes, operation_shares, sample_architectures
from racl_tf.search.sampling_result import SamplingResult, operations_of
from racl_tf.space import EDGES, OPERATIONS

ATTACK = pgd(0.05, 0.02, 3)
SAMPLES = 6


def make_search(architecture: PointArchitecture) -> RACLSearch:
    """Returns a compiled search of one reduction cell whose medians differ from edge to edge."""
    supernet = Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1), partial=2, mean=0.3, std=0.4, seed=1)
    search = RACLSearch(supernet, architecture, seed=5)
    search.compile(keras.optimizers.SGD(0.1, momentum=0.9), run_eagerly=True)
    rng = np.random.default_rng(0)
    for mu in architecture.mu:
        mu.assign_add(rng.normal(0, 0.3, mu.shape))
    return search


@pytest.fixture(scope="module")
def data() -> ImageSet:
    return load_dataset("digits", train_size=60).train


@pytest.fixture(scope="module")
def search(data: ImageSet) -> RACLSearch:
    """A search after three steps."""
    search = make_search(LogNormalArchitecture(sigma=0.3))
    batch = (tf.constant(data.images()[:30]), tf.constant(data.y[:30]))
    for _ in range(3):
        search.train_step((batch, batch))
    return search


def state(search: RACLSearch) -> list[np.ndarray]:
    variables = [*search.variables, *search.optimizer.variables, *search.architecture_optimizer.variables]
    return [variable.numpy().copy() for variable in variables]


@pytest.fixture(scope="module")
def sampled(search: RACLSearch, data: ImageSet) -> tuple[SamplingResult, list[np.ndarray], list[np.ndarray]]:
    """What sampling found, and the search's state before and after it."""
    before = state(search)
    result = sample_architectures(search, data, attack=ATTACK, samples=SAMPLES, top=0.5, seed=2, progress=False)
    return result, before, state(search)


@pytest.fixture(scope="module")
def result(sampled) -> SamplingResult:
    return sampled[0]


def test_the_search_stays_as_it_was_to_the_bit(search: RACLSearch, sampled) -> None:
    _, before, after = sampled
    assert search.searching
    assert len(before) == len(after) > 20
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


def test_architectures_are_the_distinct_draws_and_the_median(search: RACLSearch, result: SamplingResult) -> None:
    drawn = draw_genotypes(search.architecture, SAMPLES, seed=2)
    keys = [operations_of(genotype).tobytes() for genotype in drawn]
    counts = {operations_of(one.genotype).tobytes(): one.drawn for one in result.architectures}
    (median,) = (one.genotype for one in result.architectures if one.median)
    assert median == search.genotype()
    assert {key: count for key, count in counts.items() if count} == {key: keys.count(key) for key in keys}
    assert len(counts) == len(result.architectures) == len({*keys, operations_of(median).tobytes()})
    assert len(result.architectures) > 2
    np.testing.assert_allclose(result.shares, operation_shares(drawn))


def test_the_most_robust_comes_first_and_half_are_bounded(result: SamplingResult) -> None:
    robust = [one.robust for one in result.architectures]
    assert robust == sorted(robust, reverse=True)
    assert result.genotype == result.architectures[0].genotype
    half = robust[math.ceil(len(robust) / 2) - 1]
    for one, after in zip(result.architectures, [*result.architectures[1:], None], strict=True):
        assert 0 <= one.robust <= one.clean <= result.images
        assert (one.bounds is not None) == (one.robust >= half)
        assert one.bounds is None or 0 < one.bounds.lower <= one.bounds.upper
        if after is not None and one.bounds is not None and after.robust == one.robust:
            assert after.bounds is not None
            assert one.bounds.lower <= after.bounds.lower


def test_a_seed_repeats_the_result(search: RACLSearch, data: ImageSet, result: SamplingResult) -> None:
    arrays = (data.images(), data.y)
    again = sample_architectures(search, arrays, attack=ATTACK, samples=SAMPLES, top=0.5, seed=2, progress=False)
    assert again.to_dict() == result.to_dict()


def test_without_a_sigma_all_samples_agree_and_an_untrained_search_is_said_to_be_near_chance(
    data: ImageSet, caplog: pytest.LogCaptureFixture
) -> None:
    search = make_search(PointArchitecture())
    small = data.take(range(24))
    result = sample_architectures(search, small, attack=pgd(0.05, 0.02, 1), samples=5, progress=False)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "no better than chance in 10 classes, so that their order means nothing" in warning
    (only,) = result.architectures
    assert (only.genotype, only.drawn, only.median) == (search.genotype(), 5, True)
    np.testing.assert_array_equal(result.agreement, 1)
    assert result.kept.sum() == 16
    assert result.overall_agreement() == 1
    assert only.bounds is not None


def normal_cdf(value: float) -> float:
    return (1 + math.erf(value / math.sqrt(2))) / 2


def test_shares_are_those_of_the_distribution() -> None:
    """Of two operations on an edge, and of two edges into a node, one wins as often as one normal exceeds another."""
    architecture, sigma, count = LogNormalArchitecture(sigma=0.5), 0.5, 1500
    alpha, beta = (np.full(mu.shape, -9.0) for mu in architecture.mu)
    sep, skip = OPERATIONS.index("sep_conv_3x3"), OPERATIONS.index("skip_connect")
    edge = EDGES.index((0, 3))
    alpha[0, edge, [sep, skip]] = 0.0, -0.3
    beta[0, edge] = 9.0  # always kept
    first, second = EDGES.index((1, 3)), EDGES.index((2, 3))
    alpha[0, [first, second], sep] = 0.2, 0.0
    beta[0, [first, second]] = 0.0, -0.1
    for mu, value in zip(architecture.mu, (alpha, beta), strict=True):
        mu.assign(value)
    shares = operation_shares(draw_genotypes(architecture, count, seed=3))
    np.testing.assert_allclose(shares.sum(-1), 1)
    np.testing.assert_allclose((1 - shares[..., 0]).sum(-1), 8)
    operation = normal_cdf(0.3 / (sigma * math.sqrt(2)))
    kept = normal_cdf(0.3 / (sigma * 2))
    tolerance = 4 * 0.5 / math.sqrt(count)
    assert shares[0, edge, sep] == pytest.approx(operation, abs=tolerance)
    assert shares[0, edge, skip] == pytest.approx(1 - operation, abs=tolerance)
    assert shares[0, first, sep] == pytest.approx(kept, abs=tolerance)
    assert shares[0, second, 0] == pytest.approx(kept, abs=tolerance)


def discrete_weights(search: RACLSearch) -> tuple[np.ndarray, np.ndarray]:
    """Returns the medians of what the search's genotype keeps, edge by edge, and 0 elsewhere."""
    medians = [weights.numpy() for weights in search.architecture.median()]
    alpha, beta = (np.zeros_like(weights) for weights in medians)
    genotype = search.genotype()
    for cell, nodes in enumerate((genotype.normal.nodes, genotype.reduce.nodes)):
        for node, edges in enumerate(nodes, start=2):
            for operation, source in edges:
                place = cell, EDGES.index((source, node))
                alpha[(*place, OPERATIONS.index(operation))] = medians[0][(*place, OPERATIONS.index(operation))]
                beta[place] = medians[1][place]
    return alpha, beta


class TestDiscreteSupernet:
    def test_has_the_statistics_of_its_own_images(self, search: RACLSearch, data: ImageSet) -> None:
        """At inference it gives, of one batch, what normalising by this batch gives; the mixture's statistics do not.

        The two differ by the correction of the variance alone, which for 60 images of 4x4 pixels is 0.1%.
        """
        discrete = DiscreteSupernet(search)
        images = data.images()
        discrete.adopt(search.genotype(), images, batch_size=len(images))
        copy = Supernet.from_config(search.supernet.get_config())
        copy.set_weights(search.supernet.get_weights())
        old = copy(images, *discrete_weights(search), training=False).numpy()
        truth = copy(images, *discrete_weights(search), training=True).numpy()
        logits = discrete.classifier.logits(images)
        np.testing.assert_allclose(logits, truth, atol=0.02 * np.abs(truth).max())
        assert np.abs(old - truth).max() > 0.1 * np.abs(truth).max()

    def test_averages_over_batches(self, search: RACLSearch, data: ImageSet) -> None:
        discrete, images = DiscreteSupernet(search), data.images()

        def statistics(images: np.ndarray, batch_size: int) -> list[np.ndarray]:
            discrete.adopt(search.genotype(), images, batch_size=batch_size)
            return [variable.numpy().copy() for variable in discrete._network.non_trainable_variables]

        halves = statistics(images[:30], 30), statistics(images[30:], 30)
        for both, first, second in zip(statistics(images, 30), *halves, strict=True):
            np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-4, atol=1e-6)

    def test_bounds_are_of_the_adopted_architecture(
        self, search: RACLSearch, data: ImageSet, result: SamplingResult
    ) -> None:
        discrete = DiscreteSupernet(search)
        discrete.adopt(result.genotype, data.images())
        assert discrete.bounds(data.images()) == result.architectures[0].bounds


def test_the_record_is_json_and_the_tables_show_it(tmp_path, result: SamplingResult) -> None:
    result.save(tmp_path / "choice.json")
    record = json.loads((tmp_path / "choice.json").read_text())
    assert record["samples"] == SAMPLES
    assert record["attack"]["steps"] == 3
    bounds = result.architectures[0].bounds
    assert bounds is not None
    assert record["candidates"][0]["lower"] == bounds.lower
    assert record["candidates"][0]["robust"]["accuracy"] == result.architectures[0].robust / 60
    assert len(record["edges"]) == 16
    assert np.mean([row["agreement"] for row in record["edges"]]) == pytest.approx(record["agreement"])
    for row in record["edges"]:
        edge = int(row["cell"] == "reduce"), EDGES.index((row["source"], row["node"]))
        assert row["agreement"] == result.agreement[edge] <= row["kept"] == result.kept[edge]
        assert row["agreement"] == result.shares[(*edge, OPERATIONS.index(row["operation"]))]
    text = str(result)
    assert str(result.genotype) in text
    assert "(median)" in text
    assert f"{100 * result.overall_agreement():.1f}% agreement overall" in text
    assert max(map(len, text.splitlines()[:-3])) <= 120


def test_agreement_counts_edges_that_are_left_out(result: SamplingResult) -> None:
    out = operations_of(result.genotype) == 0
    np.testing.assert_allclose(result.agreement[out], 1 - result.kept[out])


def test_what_is_refused(search: RACLSearch, data: ImageSet) -> None:
    with pytest.raises(UsageError, match=r"drawn from a RACLSearch\. Received: Supernet"):
        sample_architectures(search.supernet, data, attack=ATTACK)
    with pytest.raises(UsageError, match="`samples` must be a positive integer"):
        sample_architectures(search, data, attack=ATTACK, samples=0)
    with pytest.raises(UsageError, match="`top` must be a share"):
        sample_architectures(search, data, attack=ATTACK, top=0.0)
    with pytest.raises(UsageError, match="`attack` must be an attack"):
        sample_architectures(search, data, attack=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="does not take images of shape"):
        sample_architectures(search, (np.zeros((2, 8, 8, 3), np.float32), np.zeros(2, int)), attack=ATTACK)
