import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError

needs_prepared_sets = pytest.mark.skipif("RACL_TF_DATA_DIR" not in os.environ, reason="RACL_TF_DATA_DIR is not set")


class PicturesForTests(tfds.core.GeneratorBasedBuilder):
    """Twenty pictures whose width is 2 plus their label, in the splits that the config names."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name) for name in ("train", "train+validation", "train+validation+test", "test")
    ]

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=2),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.builder_config.name.split("+")}

    def _generate_examples(self, split):
        value = ["train", "validation", "test"].index(split)
        for number in range(20):
            yield number, {"image": np.full((3, 2 + number % 2, 3), value, np.uint8), "label": number % 2}


@pytest.mark.parametrize(
    ("config", "train", "test", "value"),
    [("train", 18, 2, 0), ("train+validation", 20, 20, 1), ("train+validation+test", 20, 20, 2)],
)
def test_the_test_images_come_from_test_or_validation_or_are_held_out(tmp_path, config, train, test, value) -> None:
    dataset = load_dataset(f"pictures_for_tests/{config}", data_dir=tmp_path, image_size=4)
    assert (len(dataset.train), len(dataset.test)) == (train, test)
    assert dataset.test.x.shape[1:] == (4, 4, 3)
    assert (dataset.train.x == 0).all()
    assert (dataset.test.x == value).all()
    assert np.bincount(dataset.test.y).tolist() == [test // 2, test // 2]


def test_pictures_of_several_sizes_need_image_size(tmp_path) -> None:
    with pytest.raises(UsageError, match="Pass image_size"):
        load_dataset("pictures_for_tests/train", data_dir=tmp_path)


def test_a_set_without_training_images_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="no train split, only test"):
        load_dataset("pictures_for_tests/test", data_dir=tmp_path)


def test_a_failed_download_says_why_where_and_what_to_do(tmp_path, monkeypatch) -> None:
    def fail(builder):
        raise ConnectionError("no route to host\nand a long trace")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UsageError) as caught:
        load_dataset("cifar100", data_dir=tmp_path)
    message = str(caught.value)
    for part in ("'cifar100'", str(tmp_path), "ConnectionError: no route to host", "as data_dir"):
        assert part in message
    assert "long trace" not in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifra10", "Unknown dataset 'cifra10'. Did you mean 'cifar10'.*Known: digits, mnist, cifar10, cifar100"),
        ("svhn_croped", "Did you mean 'svhn_cropped'"),
        ("/no/such/folder", "Unknown dataset '/no/such/folder'.*path of what exists"),
        ("emnist/greek", "cannot build 'emnist/greek'.*greek not found"),
        ("imdb_reviews", "'imdb_reviews' does not classify images"),
    ],
)
def test_names_that_lead_to_no_images_are_refused(tmp_path, name, message) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset(name, data_dir=tmp_path)
    assert len(str(caught.value)) < 700


@needs_prepared_sets
def test_cifar10_has_its_published_statistics() -> None:
    dataset = load_dataset("cifar10", data_dir=os.environ["RACL_TF_DATA_DIR"])
    assert dataset.train.x.shape == (50_000, 32, 32, 3)
    assert dataset.test.x.shape == (10_000, 32, 32, 3)
    assert dataset.train.x.dtype == np.uint8
    np.testing.assert_allclose(dataset.mean, (0.4914, 0.4822, 0.4465), atol=1e-4)
    np.testing.assert_allclose(dataset.std, (0.2470, 0.2435, 0.2616), atol=1e-4)
    assert set(np.bincount(dataset.train.y)) == {5000}
    assert set(np.bincount(dataset.test.y)) == {1000}
    assert dataset.class_names[:3] == ("airplane", "automobile", "bird")


@needs_prepared_sets
def test_mnist_has_its_published_statistics() -> None:
    dataset = load_dataset("mnist", data_dir=os.environ["RACL_TF_DATA_DIR"])
    assert dataset.train.x.shape == (60_000, 28, 28, 1)
    assert len(dataset.test) == 10_000
    np.testing.assert_allclose((dataset.mean, dataset.std), ((0.1307,), (0.3081,)), atol=1e-4)
    assert np.bincount(dataset.train.y)[:3].tolist() == [5923, 6742, 5958]
