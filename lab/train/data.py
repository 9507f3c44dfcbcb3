"""Where a run's batches come from: the lab's own streams, or a person's loaders."""

import itertools
from collections.abc import Iterator

from torch import Tensor

from lab.datasets import BatchStream, Streams
from lab.nn import STATISTICS_BATCHES
from lab.train.strategy import Batches

STATISTICS_OFFSET = 1_000_000
"""Epoch number, above any real one, from which statistics take their order when one epoch is too short."""


class StreamData:
    """Batches of `Streams`: a function of seed and epoch, so a run can be taken up inside an epoch."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams

    def length(self, part: str) -> int:
        """Batches in one epoch of `part`."""
        return len(self._part(part))

    def batches(self, part: str, epoch: int, start: int = 0) -> Batches:
        """The batches of `part` in `epoch` from number `start` on."""
        return self._part(part).batches(epoch, start)

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """One epoch of the weights part, at least `STATISTICS_BATCHES` and at most twice as many batches."""
        stream = self.streams.weights
        rounds = itertools.count(STATISTICS_OFFSET + epoch)
        endless = itertools.chain.from_iterable(stream.batches(number) for number in rounds)
        count = max(STATISTICS_BATCHES, min(len(stream), 2 * STATISTICS_BATCHES))
        return (x for x, _ in itertools.islice(endless, count))

    def decisions(self) -> Batches:
        """The decision split in fixed order."""
        return self.streams.decisions.batches()

    def test(self) -> Batches:
        """The test split; read once, at the end of a run."""
        return self.streams.test.batches()

    def _part(self, part: str) -> BatchStream:
        return {"weights": self.streams.weights, "architecture": self.streams.architecture}[part]
