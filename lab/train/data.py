"""Where a run's batches come from: the lab's own streams, or a person's loaders."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from lab.datasets import BatchStream, Streams, WorkerBatches
from lab.device import DeviceLoader
from lab.nn import STATISTICS_BATCHES
from lab.train.group import Alone, Group
from lab.train.strategy import Batches

STATISTICS_OFFSET = 1_000_000
"""Epoch number, above any real one, from which statistics take their order when one epoch is too short."""


class StreamData:
    """Batches of `Streams`: a function of seed and epoch, so a run can be taken up inside an epoch.

    Args:
        streams: on the device, or in the main memory where workers prepare batches.
        device: where batches come out; default: where the streams are.
        workers: processes that prepare training batches, >= 0.
        group: the ranks that share every training batch.
    """

    def __init__(
        self,
        streams: Streams,
        *,
        device: torch.device | None = None,
        workers: int = 0,
        group: Group | None = None,
    ) -> None:
        self.streams = streams
        self.device = device or streams.weights.device
        self.workers = workers
        self.group: Group = group or Alone()

    def length(self, part: str) -> int:
        """Batches in one epoch of `part`."""
        return len(self._part(part))

    def batches(self, part: str, epoch: int, start: int = 0) -> Batches:
        """The batches of `part` in `epoch` from number `start` on; this rank's rows of each."""
        stream = self._part(part)
        source: Batches
        if self.workers:
            loader = WorkerBatches(stream, self.workers, pinned=self.device.type == "cuda")
            source = loader.batches(epoch, start)
        else:
            source = stream.batches(epoch, start)
        return (self.group.rows(x, y) for x, y in self._moved(source))

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """One epoch of the weights part, at least `STATISTICS_BATCHES` and at most twice as many batches."""
        stream = self.streams.weights
        rounds = itertools.count(STATISTICS_OFFSET + epoch)
        endless = itertools.chain.from_iterable(stream.batches(number) for number in rounds)
        count = max(STATISTICS_BATCHES, min(len(stream), 2 * STATISTICS_BATCHES))
        return (x for x, _ in self._moved(itertools.islice(endless, count)))

    def decisions(self) -> Batches:
        """The decision split in fixed order."""
        return self._moved(self.streams.decisions.batches())

    def test(self) -> Batches:
        """The test split; read once, at the end of a run."""
        return self._moved(self.streams.test.batches())

    def _moved(self, batches: Batches) -> Batches:
        """The batches on the device; copied one ahead of the one in use where that is a GPU."""
        return batches if self.streams.weights.device == self.device else iter(DeviceLoader(batches, self.device))

    def _part(self, part: str) -> BatchStream:
        return {"weights": self.streams.weights, "architecture": self.streams.architecture}[part]
