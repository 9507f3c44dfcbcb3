import os
import random
import time
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from lab.base import DataError
from lab.datasets import DataConfig, load


def save(path, arrays):
    np.savez(path, **arrays)
    return DataConfig(name=str(path))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW"])
def test_an_npz_file_is_read_in_each_layout(tmp_path, arrays, layout):
    expected = torch.from_numpy(arrays["x_train"]).permute(0, 3, 1, 2)
    for key in ("x_train", "x_test"):
        if layout == "NCHW":
            arrays[key] = arrays[key].transpose(0, 3, 1, 2)
        elif layout == "NHW":
            arrays[key] = arrays[key][..., 0]
    bundle = load(save(tmp_path / "own.npz", arrays))
    assert bundle.x_train.dtype == torch.uint8
    assert torch.equal(bundle.x_train, expected[:, :1] if layout == "NHW" else expected)
    assert torch.equal(bundle.y_train, torch.arange(60) % 4)
    assert (bundle.classes, bundle.synthetic, bundle.title) == (("0", "1", "2", "3"), False, "own.npz")


def test_floats_columns_of_labels_and_class_names_are_read(tmp_path, arrays):
    for part in ("train", "test"):
        arrays[f"x_{part}"] = arrays[f"x_{part}"] / 255
        arrays[f"y_{part}"] = arrays[f"y_{part}"][:, None].astype(np.uint8)
    arrays["classes"] = np.array(["ant", "bee", "cat", "dog"])
    bundle = load(save(tmp_path / "own.npz", arrays))
    assert bundle.x_train.dtype == torch.float32
    assert float(bundle.x_train.max()) == 1.0
    assert bundle.classes == ("ant", "bee", "cat", "dog")
    assert bundle.y_train.dtype == torch.int64


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x_train", np.zeros((60, 9, 7, 5), np.uint8), "no axis of 1, 3 or 4 channels"),
        ("x_train", np.zeros((60, 3, 7, 3), np.uint8), "both the second and the last axis could be channels"),
        ("x_train", np.zeros((60, 63), np.uint8), r"NHW, NHWC or NCHW, got shape \(60, 63\) in x_train of"),
        ("x_test", np.zeros((20, 9, 7, 3), np.int64), "uint8 or float images, got int64 in x_test of"),
        ("x_test", np.zeros((20, 9, 8, 3), np.uint8), "train and test images of one form"),
        ("y_train", np.zeros((60, 4), np.int64), r"integer labels \(N,\)"),
        ("y_train", np.zeros(60), "got .* float64 in y_train of"),
        ("y_train", np.arange(59) % 4, "expected 60 int64 labels"),
        ("y_test", np.arange(20) % 5, "training samples of every class"),
        ("y_test", np.arange(20) - 1, "training samples of every class|labels from 0"),
        ("x_train", np.full((60, 9, 7, 3), np.nan), "NaN or infinite pixels in the train part|one form"),
        ("x_train", np.zeros((0, 9, 7, 3), np.uint8), "at least one image"),
        ("classes", np.array(["a", "b"]), "labels from 0 to 1"),
    ],
)
def test_an_npz_file_of_another_form_is_refused(tmp_path, arrays, key, value, message):
    arrays[key] = value
    with pytest.raises(DataError, match=message):
        load(save(tmp_path / "own.npz", arrays))


def test_an_npz_file_without_an_array_is_refused(tmp_path, arrays):
    del arrays["y_test"]
    with pytest.raises(DataError, match="own.npz without y_test. Add those arrays"):
        load(save(tmp_path / "own.npz", arrays))


def test_an_absent_npz_file_is_refused_with_the_place(tmp_path):
    with pytest.raises(DataError, match=f"no file at {tmp_path}/own.npz"):
        load(DataConfig(name=str(tmp_path / "own.npz")))


def test_a_damaged_npz_file_is_refused(tmp_path, arrays):
    config = save(tmp_path / "own.npz", arrays)
    data = (tmp_path / "own.npz").read_bytes()
    np.save(tmp_path / "one.npy", arrays["x_train"])
    one = (tmp_path / "one.npy").read_bytes()
    for broken in (b"", b"not an archive", one, data[: len(data) // 2], data[:200] + bytes(500) + data[700:]):
        (tmp_path / "own.npz").write_bytes(broken)
        with pytest.raises(DataError, match="cannot be read"):
            load(config)


def test_an_npz_file_with_objects_is_refused_and_runs_no_code(tmp_path, arrays):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code of the file was run",))

    arrays["y_train"] = np.array([Trap()] * 60, dtype=object)
    with pytest.raises(DataError, match="without object arrays"):
        load(save(tmp_path / "own.npz", arrays))


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(key, "text")
    with pytest.raises(DataError, match="whose x_train, y_train, x_test, y_test is no array"):
        load(DataConfig(name=str(tmp_path / "own.npz")))


@pytest.fixture
def picture_folder(tmp_path):
    """Pictures of two classes, of several sizes, one of them grey."""
    for part, count in (("train", 6), ("test", 2)):
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (20 + number, 14), colour).save(tmp_path / part / label / f"{number}.png")
    Image.new("L", (9, 9), 77).save(tmp_path / "train/blue/grey.png")
    return tmp_path


def test_an_image_folder_is_read_as_rgb_at_the_size_asked_for(picture_folder):
    bundle = load(DataConfig(name=str(picture_folder), image_size=16))
    assert bundle.classes == ("blue", "red")
    assert bundle.x_train.shape == (13, 3, 16, 16)
    assert bundle.x_test[-1, :, 8, 8].tolist() == [255, 0, 0]
    assert bundle.y_train.tolist() == [0] * 7 + [1] * 6
    assert bundle.x_train[6].unique().tolist() == [77]


def test_an_image_folder_without_its_parts_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=f"no {tmp_path}/test. Make those folders"):
        load(DataConfig(name=str(tmp_path)))
    with pytest.raises(DataError, match="no-such/train and no .*no-such/test"):
        load(DataConfig(name=str(tmp_path / "no-such")))


def test_an_image_folder_with_other_test_classes_is_refused(picture_folder):
    (picture_folder / "test/red").rename(picture_folder / "test/green")
    with pytest.raises(DataError, match="got green, red in one of them only"):
        load(DataConfig(name=str(picture_folder)))


def test_an_image_folder_with_an_empty_class_or_none_is_refused(picture_folder, tmp_path):
    (picture_folder / "train/yellow").mkdir()
    with pytest.raises(DataError, match="yellow"):
        load(DataConfig(name=str(picture_folder)))
    (tmp_path / "other/train").mkdir(parents=True)
    (tmp_path / "other/test").mkdir()
    with pytest.raises(DataError, match="find any class folder"):
        load(DataConfig(name=str(tmp_path / "other")))


def test_a_picture_that_cannot_be_read_is_named(picture_folder):
    (picture_folder / "train/red/0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="train/red/0.png"):
        load(DataConfig(name=str(picture_folder)))


@pytest.mark.parametrize("label", [60, 10_000_000, 2**31, 2**62])
def test_a_label_too_large_is_refused_at_once(tmp_path, arrays, label):
    arrays["y_train"] = np.asarray(arrays["y_train"], np.int64)
    arrays["y_train"][3] = label
    config = save(tmp_path / "own.npz", arrays)
    began = time.process_time()
    with pytest.raises(DataError, match=f"label {label} among 60"):
        load(config)
    assert time.process_time() - began < 1.0


def test_a_label_beyond_64_bits_is_refused(tmp_path, arrays):
    arrays["y_train"] = np.full(60, 2**64 - 1, np.uint64)
    with pytest.raises(DataError, match="integer labels from 0"):
        load(save(tmp_path / "own.npz", arrays))


def test_one_class_only_is_refused(tmp_path, arrays):
    for part in ("train", "test"):
        arrays[f"y_{part}"] = np.zeros_like(arrays[f"y_{part}"])
    with pytest.raises(DataError, match="two classes or more"):
        load(save(tmp_path / "own.npz", arrays))


def write_pictures(path, make):
    for part in ("train", "test"):
        for number, name in enumerate(("dark", "light")):
            (path / part / name).mkdir(parents=True)
            make(number, path / part / name)
    return DataConfig(name=str(path), image_size=8)


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_wide_grey_pictures_keep_their_scale(tmp_path, kind):
    def make(number, folder):
        pixels = np.full((8, 8), (10_000, 50_000)[number], kind)
        Image.fromarray(pixels).save(folder / ("a.png" if kind is np.uint16 else "a.tiff"))

    bundle = load(write_pictures(tmp_path / "set", make))
    assert [int(x.unique()) for x in bundle.x_train] == [39, 195]


@pytest.mark.parametrize("value", [-1, 70_000, 0.5])
def test_pictures_of_no_known_scale_are_refused(tmp_path, value):
    def make(number, folder):
        pixels = np.full((8, 8), value, np.float32 if isinstance(value, float) else np.int32)
        Image.fromarray(pixels).save(folder / "a.tiff")

    with pytest.raises(DataError, match=r"a\.tiff \("):
        load(write_pictures(tmp_path / "set", make))


def test_a_picture_too_large_for_memory_is_refused_unread(tmp_path):
    def make(number, folder):
        Image.new("1", (30_000, 30_000)).save(folder / "a.png")

    with pytest.raises(DataError, match=r"a\.png \("):
        load(write_pictures(tmp_path / "set", make))


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "gif", "npz"])
def test_damaged_bytes_are_a_data_error_or_read(tmp_path, arrays, kind):
    """A fixed sample of damages; LAB_FUZZ sets how many."""
    draws = random.Random(17)
    if kind == "npz":
        config = save(tmp_path / "own.npz", arrays)
        path = tmp_path / "own.npz"
    else:
        config = write_pictures(
            tmp_path / "set", lambda number, folder: Image.effect_noise((16, 16), 40).save(folder / f"a.{kind}")
        )
        path = tmp_path / "set" / "train" / "dark" / f"a.{kind}"
    whole = path.read_bytes()
    refused = 0
    for _ in range(int(os.environ.get("LAB_FUZZ", "300")) // 5):
        content = bytearray(whole)
        for _ in range(draws.randint(1, 4)):
            content[draws.randrange(len(content))] = draws.randrange(256)
        path.write_bytes(content[: draws.randint(1, len(content))] if draws.random() < 0.3 else content)
        try:
            load(config)
        except DataError:
            refused += 1
    assert refused > 0
