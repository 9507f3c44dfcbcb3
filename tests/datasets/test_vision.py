import urllib.request
from urllib.error import URLError

import pytest
import torch
import torchvision.datasets.utils

from lab.base import DataError
from lab.datasets import DataConfig, load, open_streams

NEED_FILES = ("fashion-mnist", "mnist", "cifar10", "cifar100", "svhn")


@pytest.mark.parametrize("name", NEED_FILES)
def test_a_missing_set_says_where_it_was_looked_for_and_both_ways_to_get_it(name, tmp_path):
    with pytest.raises(DataError) as caught:
        load(DataConfig(name=name, data_dir=str(tmp_path)))
    text = str(caught.value)
    assert str(tmp_path) in text
    assert "Add --download, or put" in text
    assert "\n" not in text
    assert not list(tmp_path.iterdir())


def test_one_missing_file_is_named(idx_folder):
    (idx_folder / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="found no t10k-labels-idx1-ubyte. Add --download, or put"):
        load(DataConfig(name="mnist", data_dir=str(idx_folder)))


def test_files_in_their_published_format_are_read(idx_folder):
    bundle = load(DataConfig(name="mnist", data_dir=str(idx_folder)))
    assert (bundle.title, bundle.shape, bundle.classes) == ("MNIST", (1, 28, 28), tuple("0123456789"))
    assert (len(bundle.x_train), len(bundle.x_test)) == (40, 20)
    raw = (idx_folder / "MNIST/raw/train-images-idx3-ubyte").read_bytes()[16:]
    assert bundle.x_train.numpy().tobytes() == raw


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_file_that_is_cut_short_is_refused(idx_folder, keep):
    path = idx_folder / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="MNIST files as published, got a damaged file in .*--download"):
        load(DataConfig(name="mnist", data_dir=str(idx_folder)))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_files_that_are_not_the_published_ones_are_refused(name, tmp_path):
    from lab.datasets.sources import find_source

    for path in find_source(name).missing(tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"another file")
    with pytest.raises(DataError, match="got a damaged file"):
        load(DataConfig(name=name, data_dir=str(tmp_path)))


@pytest.mark.parametrize("name", NEED_FILES)
def test_a_download_that_fails_is_one_clear_error(name, tmp_path, monkeypatch):
    asked = []

    def fail(request, *args, **kwargs):
        asked.append(request.full_url)
        raise URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(DataError, match=r"from the network, got the download into .* failed .*. Try again, or put"):
        load(DataConfig(name=name, data_dir=str(tmp_path), download=True))
    assert asked


def test_packed_files_alone_are_named_as_such_and_left_alone(fashion_packed):
    before = sorted(path.name for path in fashion_packed.rglob("*"))
    with pytest.raises(DataError, match="got only the packed .gz files. Add --download, or unpack them beside"):
        load(DataConfig(name="fashion-mnist", data_dir=str(fashion_packed)))
    assert sorted(path.name for path in fashion_packed.rglob("*")) == before


def test_download_unpacks_packed_files_without_the_network(fashion_packed, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: pytest.fail("asked the network"))
    bundle = load(DataConfig(name="fashion-mnist", data_dir=str(fashion_packed), download=True))
    assert len(bundle.x_train) == 60_000


def test_fashion_mnist_is_read_as_it_was_published(fashion_folder):
    streams = open_streams(DataConfig(name="fashion-mnist", data_dir=str(fashion_folder)), batch_size=128)
    assert streams.splits.sizes() == {"train": 42_000, "search": 9_000, "selection": 9_000, "test": 10_000}
    assert torch.bincount(streams.bundle.y_train).tolist() == [6000] * 10
    assert streams.bundle.classes[0] == "T-shirt/top"
    assert streams.normalisation.mean[0] == pytest.approx(0.2860, abs=2e-3)
    assert streams.normalisation.deviation[0] == pytest.approx(0.3530, abs=2e-3)
    x, y = next(iter(streams.train.batches(0)))
    assert (x.shape, x.dtype, y.dtype) == ((128, 1, 28, 28), torch.float32, torch.int64)


def test_a_folder_that_cannot_be_written_is_one_clear_error(fashion_packed, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torchvision.datasets.utils, "extract_archive", refuse)
    with pytest.raises(DataError, match="PermissionError"):
        load(DataConfig(name="fashion-mnist", data_dir=str(fashion_packed), download=True))
