import os
import socket
import warnings

import numpy as np
import pytest
from PIL import Image

from racl_tf.data import load_dataset
from racl_tf.data.files import MAX_PIXELS
from racl_tf.errors import UsageError
from racl_tf.settings import paper_settings


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
    with pytest.warns(UserWarning, match=r"1 entries of .* left out \(1 \.txt\): cat/notes\.txt\."):
        dataset = load_dataset(str(classes))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.input_shape == (3, 2, 1)
    assert np.bincount(dataset.train.y).tolist() == [4, 8]
    assert np.bincount(dataset.test.y).tolist() == [1, 2]
    pixels = np.concatenate([dataset.train.x, dataset.test.x])[:, 0, 0, 0]
    assert sorted(pixels) == sorted([*range(0, 50, 10), *range(0, 100, 10)])
    for part in (dataset.train, dataset.test):
        assert part.files is not None
        for file, x, label in zip(part.files, part.x, part.y, strict=True):
            assert file == f"{dataset.class_names[label]}/{x[0, 0, 0] // 10:02}.png"


def test_train_and_test_folders_are_kept_apart_and_one_colour_image_makes_all_rgb(tmp_path) -> None:
    save(tmp_path / "train" / "a" / "1.PNG", grey(7))
    save(tmp_path / "train" / "b" / "1.bmp", grey(8))
    save(tmp_path / "test" / "b" / "1.png", np.full((3, 2, 3), [1, 2, 3]))
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.train.x[:, 0, 0], [[7, 7, 7], [8, 8, 8]])
    np.testing.assert_array_equal(dataset.test.x[:, 0, 0], [[1, 2, 3]])
    assert dataset.train.y.tolist() == [0, 1]
    assert dataset.test.y.tolist() == [1]


FORMATS = ("webp", "tif", "tiff", "gif", "ppm", "pgm", "jfif", "jpe", "JPG", "jp2", "tga", "ico", "bmp")


def test_every_format_that_pillow_reads_and_every_folder_below_is_read(tmp_path, recwarn) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for suffix in FORMATS:
            save(tmp_path / name / f"x.{suffix}", rng.integers(0, 256, (16, 16), np.uint8))
        save(tmp_path / name / "deeper" / "still" / "x.png", grey(0, 16, 16))
        save(tmp_path / name / "y.png", grey(0, 16, 16))
        (tmp_path / name / "y.png").rename(tmp_path / name / "0a1b2c")  # known by its content alone
    dataset = load_dataset(str(tmp_path))
    assert len(dataset.train) + len(dataset.test) == 2 * (len(FORMATS) + 2)
    assert dataset.class_names == ("a", "b")
    assert not [warning for warning in recwarn if "left out" in str(warning.message)]


def test_what_is_left_out_is_counted_and_named(classes) -> None:
    (classes / "README.md").write_text("beside the classes")
    save(classes / "loose.png", grey(0))
    (classes / "dog" / "linked").symlink_to(classes / "cat", target_is_directory=True)
    (classes / "dog" / "features.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (classes / "dog" / "labels").write_text("one, two")
    (classes / "dog" / ".DS_Store").write_text("hidden")
    for number in range(2):
        (classes / "cat" / f"{number}.json").write_text("{}")
    with pytest.warns(UserWarning, match="left out") as caught:
        dataset = load_dataset(str(classes))
    (message,) = [str(warning.message) for warning in caught if "left out" in str(warning.message)]
    assert "7 entries" in message
    assert "(1 .md, 2 .json, 1 .h5, 1 without suffix, 1 folders, 1 .png)" in message
    assert message.endswith("README.md, cat/0.json, cat/1.json, dog/features.h5, dog/labels, 2 more.")
    assert len(dataset.train) + len(dataset.test) == 15


def test_other_parts_beside_train_and_test_are_named(tmp_path) -> None:
    for part in ("train", "test", "val"):
        for name in ("a", "b"):
            save(tmp_path / part / name / "1.png", grey(7))
    with pytest.warns(UserWarning, match=r"\(1 folders\): val/\."):
        assert len(load_dataset(str(tmp_path)).test) == 2


@pytest.mark.parametrize("parts", [("train", "val"), ("train",), ("photos",), ("test", "validation", "x")], ids=str)
def test_parts_are_not_taken_for_classes(tmp_path, parts) -> None:
    for part in parts:
        for name in ("a", "b"):
            save(tmp_path / part / name / "1.png", grey(7))
    with pytest.raises(UsageError, match=r"looks like a folder of classes.*train/ and test/.*with "):
        load_dataset(str(tmp_path))


def test_a_class_may_be_called_train(tmp_path) -> None:
    for name in ("plane", "train"):
        for number in range(3):
            save(tmp_path / name / f"{number}.png", grey(7))
    assert load_dataset(str(tmp_path)).class_names == ("plane", "train")


@pytest.mark.parametrize("seed", range(3))
def test_random_folders_are_read_in_full_or_what_is_missing_is_named(tmp_path, seed) -> None:
    rng, images, others = np.random.default_rng(seed), 0, 0
    for name in ("a", "b", "c"):
        save(tmp_path / name / "0.png", grey(0, 16, 16))
        save(tmp_path / name / "1.png", grey(0, 16, 16))
        images += 2
        for number in range(int(rng.integers(1, 12))):
            folder = tmp_path.joinpath(name, *rng.choice(["in", "ner", "x.png"], int(rng.integers(0, 3))))
            folder.mkdir(parents=True, exist_ok=True)
            if rng.random() < 0.6:
                save(folder / f"{number + 2}.{rng.choice(FORMATS)}", grey(rng.integers(256), 16, 16))
                images += 1
            else:
                (folder / f"{number + 2}{rng.choice(['', '.txt', '.xml', '.npy'])}").write_bytes(rng.bytes(40))
                others += 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_dataset(str(tmp_path))
    assert len(dataset.train) + len(dataset.test) == images
    assert [str(warning.message).split()[0] for warning in caught if "left out" in str(warning.message)] == (
        [str(others)] if others else []
    )


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


def test_a_grey_image_of_sixteen_bits_is_refused_among_colours_too(classes) -> None:
    """Pillow would make it white, wherever in the folder it lies."""
    save(classes / "cat" / "00.png", np.full((3, 2, 3), [1, 2, 3]))
    Image.fromarray(np.full((3, 2), 40_000, np.uint16)).save(classes / "dog" / "deep.png")
    with pytest.raises(UsageError, match=r"8-bit.*I;16.*deep\.png"):
        load_dataset(str(classes))


def test_all_images_that_cannot_be_used_are_counted_and_named(classes) -> None:
    whole = (classes / "dog" / "01.png").read_bytes()
    for number in range(7):
        (classes / "dog" / f"{number:02}.png").write_bytes(whole[: 30 + number])
    with pytest.raises(UsageError, match=r"^7 of 15 images in ") as caught:
        load_dataset(str(classes))
    names = "dog/00.png, dog/01.png, dog/02.png, dog/03.png, dog/04.png, 2 more. The first: Cannot read the image"
    assert names in str(caught.value)


def test_no_program_is_started_to_read_an_image(classes, monkeypatch) -> None:
    """EPS is decoded by Ghostscript, whatever the file is called."""
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program is started"))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    Image.new("RGB", (2, 3)).save(classes / "dog" / "drawing.png", "EPS")
    with pytest.raises(UsageError, match=r"Cannot read the image .*drawing\.png"):
        load_dataset(str(classes))
    (classes / "dog" / "drawing.png").rename(classes / "dog" / "drawing.eps")
    with pytest.warns(UserWarning, match=r"left out .*dog/drawing\.eps"):
        load_dataset(str(classes))


def test_what_is_no_file_is_left_out_and_nothing_waits_for_it(classes, monkeypatch) -> None:
    monkeypatch.chdir(classes / "dog")  # as paths of sockets must be short
    os.mkfifo(classes / "dog" / "pipe.png")
    os.mkfifo(classes / "queue")
    (classes / "dog" / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        with pytest.warns(UserWarning, match="4 entries of .*dog/device.png, dog/pipe.png, dog/socket.png, queue"):
            assert len(load_dataset(classes).train) == 12


@pytest.mark.parametrize("limit", [5, 3])
def test_images_of_too_many_pixels_are_refused_before_they_are_decoded(classes, limit, monkeypatch) -> None:
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it is decoded"))
    with pytest.raises(UsageError, match=rf"15 images .*more than {limit} pixels.*data\.max_pixels"):
        load_dataset(classes, max_pixels=limit)
    monkeypatch.undo()
    assert load_dataset(classes, max_pixels=6).input_shape == (3, 2, 1)
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS == paper_settings().data.max_pixels


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
        ({"x": arrays(4)[0], "y": arrays(4)[1].astype(np.int64) + 2**32}, "within 32 bits. Received labels from 42949"),
        ({"x": arrays(4)[0], "y": np.array([0, 1, 2**32, 1], np.uint64)}, "within 32 bits"),
        ({"x": arrays(4)[0], "y": np.array([0, 1, 2**31, 1], np.uint32)}, "within 32 bits"),
        ({"x": arrays(4)[0] * 2.0, "y": arrays(4)[1]}, r"in \[0, 1\]"),
        (
            {"x": arrays(4)[0], "y": np.array([0, 1, 2**31 - 1, 1])},
            "up to 2147483647, which are more classes than its 4",
        ),
        (
            {"x": arrays(4)[0], "y": arrays(4)[1], "x_test": arrays(4)[0], "y_test": np.array([0, 2, 9, 9])},
            r"y_test of .* has classes that y lacks: 2, 9\. Drop",
        ),
    ],
)
def test_archives_that_hold_no_dataset_are_refused(tmp_path, held, message) -> None:
    np.savez(tmp_path / "set.npz", **held)
    with pytest.raises(UsageError, match=message):
        load_dataset(str(tmp_path / "set.npz"))


def test_arrays_that_an_archive_holds_besides_are_named(tmp_path) -> None:
    x, y = arrays(20)
    np.savez(tmp_path / "set.npz", x=x, y=y.astype(np.uint8), x_val=x, y_val=y)
    with pytest.warns(UserWarning, match="left out: x_val, y_val"):
        dataset = load_dataset(str(tmp_path / "set.npz"))
    assert dataset.train.y.dtype == np.int32


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


def test_archives_of_any_types_are_read_exactly_or_refused(tmp_path) -> None:
    """What is read are the images and labels that were written, whatever their types."""
    rng, read = np.random.default_rng(0), 0
    for number in range(300):
        count, channels = int(rng.integers(1, 14)), int(rng.choice([1, 3, 4]))
        x = rng.uniform(-0.001, 1.001, (count, 3, 3, channels)) if rng.random() < 0.2 else rng.random((count, 3, 3, 1))
        x = (255 * x).astype("uint8") if rng.random() < 0.3 else x.astype(rng.choice(["f2", "f4", "f8", "i4", "?"]))
        y = (np.arange(count) % 2).astype(rng.choice(["u1", "i1", "u2", "i4", "u4", "i8", "u8", "f4", "?", "U2"]))
        if rng.random() < 0.3 and y.dtype.kind in "iu":
            y[-1] = rng.choice([0, 1, np.iinfo(y.dtype).max, np.iinfo(y.dtype).max // 2 + 1, np.iinfo(y.dtype).min])
        np.savez(path := tmp_path / f"{number}.npz", x=x, y=y, x_test=x[::-1], y_test=y[::-1])
        if y.dtype.kind in "iu" and 1000 < int(y.max()) < 2**31:
            continue  # so many classes are another matter
        try:
            dataset = load_dataset(str(path))
        except UsageError:
            continue
        read += 1
        np.testing.assert_array_equal(dataset.train.y.astype(object), y.astype(object))
        np.testing.assert_array_equal(dataset.test.x, x[::-1].astype(dataset.test.x.dtype))
    assert read > 50
