"""Images in mapped files give what those in memory give, bit for bit, whatever happens to the files."""

import os
import subprocess
import sys
import threading
import time
from collections import namedtuple
from itertools import islice

import filelock
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from racl_tf.data import (
    Augmentation,
    batches,
    files,
    hold_out,
    image_storage,
    load_dataset,
    search_batches,
    split_halves,
)
from racl_tf.data.pipeline import _shared
from racl_tf.errors import UsageError

AUGMENTATION = Augmentation(crop=1, flip=True, cutout=2)
needs_prepared_sets = pytest.mark.skipif("RACL_TF_DATA_DIR" not in os.environ, reason="RACL_TF_DATA_DIR is not set")


def noise(seed, height=6, width=5, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


class NoiseForTests(tfds.core.GeneratorBasedBuilder):
    """Pictures of several sizes."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("train", "train+test")]  # noqa: RUF012

    def _info(self):
        kinds = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=2),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(kinds), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.builder_config.name.split("+")}

    def _generate_examples(self, split):
        for number in range(40):
            yield number, {"image": noise(number, 5 + number % 3, 6), "label": number % 2}


def write_folder(root, parts=("",)):
    for part in parts:
        for label, name in enumerate(("cat", "dog")):
            (root / part / name).mkdir(parents=True)
            for number in range(20):
                Image.fromarray(noise(100 * label + number)).save(root / part / name / f"{number:02}.png")
    return root


def archive(dtype, save=np.savez, *, with_test=False):
    def make(folder):
        x = np.stack([noise(number, 6, 6, 1) for number in range(40)])
        arrays = {"x": x if dtype == np.uint8 else (x / 255).astype(dtype), "y": np.arange(40) % 2, "more": np.ones(3)}
        if with_test:
            arrays |= {"x_test": arrays["x"][::-1], "y_test": arrays["y"][::-1]}
        save(folder / "set.npz", **arrays)
        return {"name": folder / "set.npz"}

    return make


SOURCES = {
    "folder, resized": lambda folder: {"name": write_folder(folder / "photos"), "image_size": (4, 7)},
    "folder in parts": lambda folder: {"name": write_folder(folder / "photos", ("train", "test"))},
    "folder, a part": lambda folder: {"name": write_folder(folder / "photos"), "train_size": 21, "test_size": 5},
    "bytes": archive(np.uint8),
    "floats": archive(np.float32, with_test=True),
    "compressed doubles": archive(np.float64, np.savez_compressed),
    "floats, resized": lambda folder: archive(np.float32)(folder) | {"image_size": 4, "train_size": 20},
    "TFDS": lambda folder: {"name": "noise_for_tests/train+test", "data_dir": folder, "image_size": 4},
    "TFDS, held out": lambda folder: {
        "name": "noise_for_tests/train", "data_dir": folder, "image_size": 4, "train_size": 24
    },
}  # fmt: skip


def streams(dataset):
    """Yields the first batches of a training and of a search that goes on in the second epoch."""
    halves, (rest, _) = split_halves(dataset.train, seed=1), hold_out(dataset.train, 4, seed=1)
    for stream in (
        batches(rest, 4, seed=3, augmentation=AUGMENTATION),
        search_batches(*halves, 4, seed=3, augmentation=AUGMENTATION, first_epoch=1, first_step=1),
    ):
        yield from (np.array(array) for element in islice(stream, 5) for array in tf.nest.flatten(element))


def assert_same(one, other) -> None:
    assert (one.class_names, one.spec) == (other.class_names, other.spec)
    for ours, theirs in ((one.train, other.train), (one.test, other.test)):
        assert (ours.files, ours.dtype, ours.shape) == (theirs.files, theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours.y, theirs.y)
        np.testing.assert_array_equal(ours.images(), theirs.images())


def assert_same_batches(one, other) -> None:
    for ours, theirs in zip(streams(one), streams(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.filterwarnings("ignore:.*left out")
def test_mapped_images_give_the_same_batches(tmp_path, monkeypatch, source) -> None:
    """When they are written and when they are found again, which decodes nothing."""
    options = SOURCES[source](tmp_path) | {"cache_dir": tmp_path / "cache"}
    held = load_dataset(**options, in_memory=True)
    assert not held.train.is_mapped
    assert not (tmp_path / "cache").exists()
    mapped = load_dataset(**options, in_memory=False)
    assert mapped.train.is_mapped
    assert mapped.test.is_mapped
    assert np.shares_memory(np.from_dlpack(_shared(mapped.train.root)), mapped.train.root.x)
    assert_same(mapped, held)
    assert_same_batches(mapped, held)
    monkeypatch.setattr(image_storage.ImageStorage, "_write", None)
    assert_same(load_dataset(**options, in_memory=False), held)


@needs_prepared_sets
@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_real_sets_give_the_same_batches(tmp_path, name) -> None:
    options = {"name": name, "data_dir": os.environ["RACL_TF_DATA_DIR"], "cache_dir": tmp_path}
    mapped, held = (load_dataset(**options, in_memory=in_memory) for in_memory in (False, True))
    assert mapped.train.is_mapped
    assert_same(mapped, held)
    assert_same_batches(mapped, held)


def test_what_takes_more_than_half_of_the_available_memory_is_mapped(tmp_path, monkeypatch) -> None:
    options = SOURCES["folder in parts"](tmp_path) | {"cache_dir": tmp_path / "cache"}
    size = 40 * 6 * 5 * 3
    for available, is_mapped in ((2 * size, False), (2 * size - 1, True)):
        monkeypatch.setattr(image_storage, "available_memory", lambda available=available: available)
        assert load_dataset(**options).train.is_mapped == is_mapped
    assert not load_dataset(**options, in_memory=True).train.is_mapped
    for source in ("bytes", "compressed doubles"):
        monkeypatch.setattr(image_storage, "available_memory", lambda: 2000)
        with pytest.warns(UserWarning, match="left out: more"):
            assert load_dataset(**SOURCES[source](tmp_path), cache_dir=tmp_path / "cache").train.is_mapped


def test_a_part_of_a_mapped_set_is_not_copied_and_no_image_can_be_changed(tmp_path) -> None:
    train = load_dataset(**SOURCES["folder, a part"](tmp_path), cache_dir=tmp_path / "cache", in_memory=False).train
    assert len(train) == 21
    assert "x" not in vars(train)
    with pytest.raises(ValueError, match="read-only"):
        train.root.x[0] = 0


@pytest.mark.parametrize("change", ["pixels", "pixels at the same time", "another image", "a name", "one image less"])
def test_a_changed_folder_is_not_served_from_what_it_was(tmp_path, change) -> None:
    root, cache = write_folder(tmp_path / "photos"), tmp_path / "cache"
    for path in root.rglob("*.png"):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    load_dataset(root, cache_dir=cache, in_memory=False)
    file = root / "cat" / "03.bmp"
    before = file.stat()
    match change:
        case "pixels" | "pixels at the same time":
            Image.fromarray(noise(77)).save(file)
            assert file.stat().st_size == before.st_size
            if change != "pixels":
                os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "another image":
            Image.fromarray(noise(77)).save(root / "cat" / "new.png")
        case "a name":
            file.rename(root / "cat" / "99.bmp")
        case _:
            file.unlink()
    mapped = load_dataset(root, cache_dir=cache, in_memory=False)
    assert_same(mapped, load_dataset(root, in_memory=True))
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1, "what it was before is removed"


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_nothing_that_is_taken_for_whole(tmp_path, monkeypatch, error) -> None:
    root, cache = write_folder(tmp_path / "photos"), tmp_path / "cache"

    def pixels(path, mode, read=files._pixels):
        if path.name == "11.png":
            raise error
        return read(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_pixels", pixels)
        with pytest.raises(error):
            load_dataset(root, cache_dir=cache, in_memory=False)
    assert not [path for path in cache.iterdir() if path.is_dir()]
    assert_same(load_dataset(root, cache_dir=cache, in_memory=False), load_dataset(root, in_memory=True))


@pytest.mark.parametrize("damage", ["cut", "without labels", "killed"])
def test_what_was_left_unfinished_is_written_anew(tmp_path, damage) -> None:
    root, cache = write_folder(tmp_path / "photos"), tmp_path / "cache"
    load_dataset(root, cache_dir=cache, in_memory=False)
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    match damage:
        case "cut":
            os.truncate(folder / "images.npy", 1000)
        case "without labels":
            (folder / "labels.npy").unlink()
        case _:
            folder.rename(cache / f".unfinished-1a2b3c4d-17-{folder.name}")
    assert_same(load_dataset(root, cache_dir=cache, in_memory=False), load_dataset(root, in_memory=True))
    assert [path for path in cache.iterdir() if path.is_dir()] == [folder]


def test_files_that_change_while_they_are_read_are_not_kept(tmp_path, monkeypatch) -> None:
    root, cache = write_folder(tmp_path / "photos"), tmp_path / "cache"

    def pixels(path, mode, read=files._pixels):
        if path.name == "19.png":
            Image.fromarray(noise(77)).save(path)
        return read(path, mode)

    monkeypatch.setattr(files, "_pixels", pixels)
    with pytest.raises(UsageError, match=r"The files of .*photos' changed while they were read. Run it again"):
        load_dataset(root, cache_dir=cache, in_memory=False)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_a_second_process_waits_and_decodes_nothing(tmp_path, monkeypatch) -> None:
    root, cache, found = write_folder(tmp_path / "photos"), tmp_path / "cache", []
    load_dataset(root, cache_dir=cache, in_memory=False)
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    (lock,) = cache.glob("*.lock")
    folder.rename(tmp_path / "written by another")
    monkeypatch.setattr(image_storage.ImageStorage, "_write_images", None)
    thread = threading.Thread(target=lambda: found.append(load_dataset(root, cache_dir=cache, in_memory=False)))
    with filelock.FileLock(lock):
        thread.start()
        time.sleep(1)
        assert not found
        (tmp_path / "written by another").rename(folder)
    thread.join()
    assert found[0].train.is_mapped


def test_a_disk_without_room_and_a_folder_that_cannot_be_written_are_said(tmp_path, monkeypatch) -> None:
    options = SOURCES["folder in parts"](tmp_path) | {"in_memory": False}
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"cannot be kept in .*taken.*data\.cache_dir, or set data\.in_memory=true"):
        load_dataset(**options, cache_dir=tmp_path / "taken")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(image_storage.shutil, "disk_usage", lambda _: usage(10))
    with pytest.raises(UsageError, match=r"cannot be kept in .*they take 0\.0 GB and there are 0\.0 GB free"):
        load_dataset(**options, cache_dir=tmp_path / "cache")


def test_the_folder_of_caches_is_the_user_s(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    load_dataset(**SOURCES["folder in parts"](tmp_path), in_memory=False)
    assert any((tmp_path / "caches" / "racl_tf").iterdir())


def test_broken_images_are_named_as_in_memory(tmp_path) -> None:
    root = write_folder(tmp_path / "photos")
    for number in (3, 4):
        (root / "dog" / f"0{number}.png").write_bytes(b"none")
    for in_memory in (True, False):
        with pytest.raises(UsageError, match=r"2 of 40 images .* cannot be used: dog/03\.png, dog/04\.png"):
            load_dataset(root, cache_dir=tmp_path / "cache", in_memory=in_memory)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.full((4, 2, 2, 1), 1.5), "y": np.arange(4)}, r"in \[0, 1\]"),
        ({"x": np.full((4, 2, 2, 1), np.nan), "y": np.arange(4)}, "NaN"),
        ({"x": np.zeros((4, 2, 2), np.uint8), "y": np.arange(4)}, r"shape \(N, H, W, C\)"),
        ({"x": np.zeros((4, 2, 2, 1), np.int64), "y": np.arange(4)}, "Received int64"),
        ({"x": np.zeros((4, 2, 2, 1), np.uint8), "y": np.arange(3)}, "4 images and 3 labels"),
        ({"x": np.zeros((4, 2, 2, 1), np.uint8), "y": np.arange(4) - 1}, "Received -1"),
        ({"x": np.asfortranarray(np.zeros((4, 2, 2, 1), np.uint8) + np.arange(2)), "y": np.arange(4)}, "by columns"),
        ({"x": np.uint8(3), "y": np.arange(4)}, "single value"),
        ({"x": np.array([{}]), "y": np.arange(1)}, "objects"),
        ({"x": np.zeros((0, 2, 2, 1), np.uint8), "y": np.arange(4)}, "at least one image"),
    ],
)
def test_archives_that_hold_no_images_are_refused(tmp_path, arrays, message) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    for size in (None, 4):
        with pytest.raises(UsageError, match=message):
            load_dataset(tmp_path / "set.npz", cache_dir=tmp_path, in_memory=False, image_size=size)


CAPPED = """
import resource, sys
import keras, numpy as np
from racl_tf.data import batches, load_dataset
from racl_tf.memory import process_memory

layers = [keras.layers.AveragePooling2D(48), keras.layers.Flatten(), keras.layers.Dense(2)]
model = keras.Sequential([keras.Input((192, 192, 3)), *layers])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(np.zeros((4, 192, 192, 3)), np.zeros(4), batch_size=4, verbose=0)
size = 4000 * 192 * 192 * 3  # a fifth is held out
cap = process_memory("VmData") + size // 2
resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
try:
    load_dataset(sys.argv[1], cache_dir=sys.argv[2], in_memory=True)
    raise SystemExit("all images fit")
except MemoryError:
    pass
train = load_dataset(sys.argv[1], cache_dir=sys.argv[2]).train
assert train.is_mapped
history = model.fit(batches(train, 4, seed=0), steps_per_epoch=len(train) // 4, verbose=0)
assert np.isfinite(history.history["loss"]).all()
print("trained on", len(train), "with", train.root.x.nbytes > size // 2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit it")
def test_a_set_is_trained_on_that_is_larger_than_the_memory(tmp_path) -> None:
    """Decoded it takes twice of what the process may have besides what it has already."""
    for label, name in enumerate(("dark", "bright")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(np.full((192, 192, 3), 90 * label + 60, np.uint8)).save(tmp_path / "one.png")
        for number in range(2000):
            os.link(tmp_path / "one.png", tmp_path / "photos" / name / f"{number}.png")
        (tmp_path / "one.png").unlink()
    command = [sys.executable, "-c", CAPPED, str(tmp_path / "photos"), str(tmp_path / "cache")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained on 3200 with True" in done.stdout
