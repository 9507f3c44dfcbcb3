"""Loaders whose batches are on the device; the copy-ahead of CUDA is played through with stand-ins for its streams."""

import contextlib
import importlib
import pickle

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lab.device import DeviceLoader

DATA = TensorDataset(torch.arange(10.0), torch.arange(10))


def test_all_batches_come_in_order_and_again_and_the_length_is_the_loaders():
    loader = DeviceLoader(DataLoader(DATA, batch_size=4), torch.device("cpu"))
    for _ in range(2):
        batches = list(loader)
        assert [batch[1].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert {type(batch) for batch in batches} == {list}
    assert len(loader) == 3


def test_everything_else_is_the_wrapped_loaders_own():
    inner = DataLoader(DATA, batch_size=4)
    loader = DeviceLoader(inner, torch.device("cpu"))
    assert loader.dataset is DATA
    assert loader.batch_size == 4
    with pytest.raises(AttributeError, match="nothing"):
        loader.nothing
    assert len(pickle.loads(pickle.dumps(loader))) == 3


@pytest.fixture
def streams(monkeypatch):
    """Stand-ins for CUDA's streams and for the copy to it; what they do is written into the list."""
    log = []

    class Stream:
        def __init__(self, device):
            log.append("stream")

        def wait_stream(self, other):
            log.append("wait")

    module = importlib.import_module("lab.device.loader")
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(module, "place", lambda batch, device, non_blocking: log.append(f"copy {batch}") or batch)
    return log


def test_on_cuda_the_next_batch_is_copied_before_the_one_in_use_is_handed_out(streams):
    loader = DeviceLoader([1, 2, 3], torch.device("cuda:0"))
    seen = []
    for batch in loader:
        seen.append((batch, [entry for entry in streams if entry.startswith("copy")]))
    assert seen == [
        (1, ["copy 1", "copy 2"]),
        (2, ["copy 1", "copy 2", "copy 3"]),
        (3, ["copy 1", "copy 2", "copy 3"]),
    ]
    assert streams.count("wait") == 3


@pytest.mark.usefixtures("streams")
def test_on_cuda_an_empty_loader_and_a_second_round_work():
    assert list(DeviceLoader([], torch.device("cuda:0"))) == []
    loader = DeviceLoader([1, 2], torch.device("cuda:0"))
    assert [list(loader), list(loader)] == [[1, 2], [1, 2]]


@pytest.mark.gpu
def test_on_cuda_batches_arrive_whole():
    data = TensorDataset(torch.randn(4096, 64), torch.arange(4096))
    loader = DeviceLoader(DataLoader(data, batch_size=512), torch.device("cuda", 0))
    total = torch.zeros(64, device="cuda")
    labels = []
    for x, y in loader:
        assert x.is_cuda
        total += x.sum(0)
        labels.append(y)
    assert torch.allclose(total.cpu(), data.tensors[0].sum(0), atol=1e-2)
    assert torch.equal(torch.cat(labels).cpu(), data.tensors[1])
