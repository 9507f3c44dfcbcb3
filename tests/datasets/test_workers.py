"""Worker processes hand over the stream's own batches."""

import pytest
import torch

from lab.base import ConfigError, DataError
from lab.datasets import DataConfig, WorkerBatches, open_streams


@pytest.fixture(scope="module")
def streams():
    return open_streams(DataConfig(name="shapes", train_limit=300), batch_size=16)


@pytest.mark.parametrize("start", [0, 3])
def test_batches_and_their_order_are_the_streams_own(streams, start):
    workers = WorkerBatches(streams.train, 2)
    for epoch in (0, 1):
        expected = list(streams.train.batches(epoch, start))
        found = list(workers.batches(epoch, start))
        assert len(found) == len(expected) > 2
        for (x, y), (x_worker, y_worker) in zip(expected, found, strict=True):
            assert torch.equal(x, x_worker)
            assert torch.equal(y, y_worker)


def test_the_batches_really_come_from_other_processes(streams):
    tensors = [x for x, _ in WorkerBatches(streams.train, 1).batches(0)]
    assert all(x.is_shared() for x in tensors)
    assert not any(x.is_shared() for x, _ in streams.train.batches(0))


def test_one_batch_alone_is_the_one_of_the_loop(streams):
    whole = list(streams.train.batches(2))
    streams.train.batch(5, 0)  # another epoch in between
    x, y = streams.train.batch(2, 3)
    assert torch.equal(x, whole[3][0])
    assert torch.equal(y, whole[3][1])


def test_no_worker_is_refused(streams):
    with pytest.raises(ConfigError, match="workers >= 1, got workers = 0"):
        WorkerBatches(streams.train, 0)


def test_a_stream_on_another_device_is_refused():
    streams = open_streams(DataConfig(name="shapes", train_limit=100), batch_size=8, device="meta")
    with pytest.raises(DataError, match="a stream in the main memory, got one on meta"):
        WorkerBatches(streams.train, 1)
