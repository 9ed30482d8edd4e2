import numpy as np
import pytest
from PIL import Image

from racl_tf.data import load_dataset
from racl_tf.errors import UsageError


def save(path, pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def grey(value, height=3, width=2):
    return np.full((height, width), value)


@pytest.fixture
def classes(tmp_path):
    """A folder with five grey images of a cat and ten of a dog."""
    for name, count in (("cat", 5), ("dog", 10)):
        for number in range(count):
            save(tmp_path / name / f"{number:02}.png", grey(10 * number))
    return tmp_path


def test_a_folder_of_classes_holds_a_fifth_of_each_out(classes) -> None:
    (classes / "cat" / "notes.txt").write_text("not an image")
    (classes / ".cache").mkdir()
    dataset = load_dataset(str(classes))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.input_shape == (3, 2, 1)
    assert np.bincount(dataset.train.y).tolist() == [4, 8]
    assert np.bincount(dataset.test.y).tolist() == [1, 2]
    pixels = np.concatenate([dataset.train.x, dataset.test.x])[:, 0, 0, 0]
    assert sorted(pixels) == sorted([*range(0, 50, 10), *range(0, 100, 10)])


def test_train_and_test_folders_are_kept_apart_and_one_colour_image_makes_all_rgb(tmp_path) -> None:
    save(tmp_path / "train" / "a" / "1.PNG", grey(7))
    save(tmp_path / "train" / "b" / "1.bmp", grey(8))
    save(tmp_path / "test" / "b" / "1.png", np.full((3, 2, 3), [1, 2, 3]))
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.train.x[:, 0, 0], [[7, 7, 7], [8, 8, 8]])
    np.testing.assert_array_equal(dataset.test.x[:, 0, 0], [[1, 2, 3]])
    assert dataset.train.y.tolist() == [0, 1]
    assert dataset.test.y.tolist() == [1]


def test_images_of_several_sizes_need_and_follow_image_size(classes) -> None:
    save(classes / "cat" / "wide.png", grey(50, 4, 9))
    with pytest.raises(UsageError, match="Pass image_size"):
        load_dataset(str(classes))
    assert load_dataset(str(classes), image_size=(5, 6)).train.x.shape[1:] == (5, 6, 1)


def test_an_empty_class_is_named(classes) -> None:
    (classes / "emu").mkdir()
    with pytest.raises(UsageError, match=r"one sub-folder per class.*Without images: emu"):
        load_dataset(str(classes))


def test_a_folder_without_classes_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="there are no sub-folders"):
        load_dataset(str(tmp_path))


def test_a_class_with_too_few_images_to_hold_one_out_is_refused(classes) -> None:
    save(classes / "emu" / "1.png", grey(0))
    with pytest.raises(UsageError, match="class 2 has 1"):
        load_dataset(str(classes))


def test_a_test_class_without_training_images_is_named(tmp_path) -> None:
    save(tmp_path / "train" / "a" / "1.png", grey(7))
    save(tmp_path / "test" / "z" / "1.png", grey(7))
    with pytest.raises(UsageError, match=r"classes that .* lacks: z"):
        load_dataset(str(tmp_path))


def test_a_broken_image_is_named(classes) -> None:
    (classes / "dog" / "broken.png").write_bytes((classes / "dog" / "01.png").read_bytes()[:40])
    with pytest.raises(UsageError, match=r"Cannot read the image .*broken\.png"):
        load_dataset(str(classes))


def test_sixteen_bit_images_are_refused_as_they_would_be_clipped(classes) -> None:
    Image.fromarray(np.full((3, 2), 40_000, np.uint16)).save(classes / "dog" / "deep.png")
    with pytest.raises(UsageError, match=r"8-bit.*deep\.png"):
        load_dataset(str(classes))


def arrays(count, classes=2):
    x = np.random.default_rng(0).integers(0, 256, (count, 3, 3, 1), np.uint8)
    return x, np.arange(count) % classes


def test_an_archive_with_test_images_is_read_as_it_is(tmp_path) -> None:
    x, y = arrays(10, 5)
    np.savez(tmp_path / "set.npz", x=x / 255, y=y, x_test=x[:2], y_test=y[:2])
    dataset = load_dataset(str(tmp_path / "set.npz"))
    np.testing.assert_allclose(dataset.train.x, x / 255, rtol=1e-6)
    np.testing.assert_array_equal(dataset.train.y, y)
    np.testing.assert_array_equal(dataset.test.x, x[:2])
    assert dataset.class_names == ("0", "1", "2", "3", "4")


def test_an_archive_without_test_images_holds_a_fifth_out(tmp_path) -> None:
    x, y = arrays(20)
    np.savez(tmp_path / "set.npz", x=x, y=y)
    dataset = load_dataset(str(tmp_path / "set.npz"), image_size=6)
    assert dataset.test.x.shape == (4, 6, 6, 1)
    assert np.bincount(dataset.train.y).tolist() == [8, 8]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"x": arrays(4)[0]}, "lacks y: it holds x"),
        ({"x": arrays(4)[0], "y": arrays(4)[1], "y_test": arrays(4)[1]}, "lacks x_test"),
        ({"x": np.array([{}]), "y": arrays(1)[1]}, "plain arrays"),
        ({"x": arrays(4)[0], "y": arrays(4)[1] - 1}, "labels from 0. Received -1"),
        ({"x": arrays(4)[0] * 2.0, "y": arrays(4)[1]}, r"in \[0, 1\]"),
    ],
)
def test_archives_that_hold_no_dataset_are_refused(tmp_path, held, message) -> None:
    np.savez(tmp_path / "set.npz", **held)
    with pytest.raises(UsageError, match=message):
        load_dataset(str(tmp_path / "set.npz"))


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_what_is_no_archive_is_refused(tmp_path, content) -> None:
    if content:
        (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UsageError, match=r"Cannot read .*set\.npz"):
        load_dataset(str(tmp_path / "set.npz"))


def test_paths_are_of_any_kind(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    x, y = arrays(20)
    np.savez(tmp_path / "set.npz", x=x, y=y)
    for path in (tmp_path / "set.npz", "~/set.npz"):
        assert len(load_dataset(path).test) == 4


def test_what_a_range_has_too_much_is_said(tmp_path) -> None:
    np.savez(tmp_path / "set.npz", x=np.full((20, 8, 8, 1), 1.0000001, np.float32), y=np.arange(20) % 2)
    with pytest.raises(UsageError, match=r"values from 1\.0000001"):
        load_dataset(tmp_path / "set.npz")


def test_a_renamed_array_is_told_from_an_archive(tmp_path) -> None:
    np.save(tmp_path / "set.npy", arrays(4)[0])
    (tmp_path / "set.npy").rename(tmp_path / "set.npz")
    with pytest.raises(UsageError, match=r"set\.npz.* use np\.savez"):
        load_dataset(tmp_path / "set.npz")
