"""Where a run's batches come from: streams of images, or records with a text and a table."""

import itertools
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from lab.datasets import BatchStream, MultitaskData, MultitaskPart, Streams, WorkerBatches
from lab.device import DeviceLoader
from lab.nn import STATISTICS_BATCHES
from lab.train.group import Group, SingleProcess
from lab.train.strategy import Batches, EpochData, Split

STATISTICS_OFFSET = 1_000_000
"""Epoch number, above any real one, from which statistics take their order when one epoch is too short."""


EVALUATED = 256
"""Records at a time where no gradient is needed."""


class RunData(EpochData, Protocol):
    """The data of a whole run, which knows what it is."""

    @property
    def title(self) -> str:
        """What a page or a table shows."""

    @property
    def synthetic(self) -> bool:
        """Whether a program made it, or a part of it."""

    def test(self) -> Batches:
        """The test split; read once, at the end of a run."""


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
        self.device = device or streams.train.device
        self.workers = workers
        self.group: Group = group or SingleProcess()

    @property
    def title(self) -> str:
        """Title of the set; synthetic ones say so."""
        return self.streams.bundle.title

    @property
    def synthetic(self) -> bool:
        """Whether a program drew the images."""
        return self.streams.bundle.synthetic

    def length(self, split: Split) -> int:
        """Batches in one epoch of `split`."""
        return len(self._split(split))

    def batches(self, split: Split, epoch: int, start: int = 0) -> Batches:
        """The batches of `split` in `epoch` from number `start` on; this rank's rows of each."""
        stream = self._split(split)
        source: Batches
        if self.workers:
            loader = WorkerBatches(stream, self.workers, pinned=self.device.type == "cuda")
            source = loader.batches(epoch, start)
        else:
            source = stream.batches(epoch, start)
        moved = self._moved(source)
        return moved if self.group.size == 1 else (self.group.rows(x, y) for x, y in moved)

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """One epoch of the train split, at least `STATISTICS_BATCHES` and at most twice as many batches."""
        stream = self.streams.train
        rounds = itertools.count(STATISTICS_OFFSET + epoch)
        endless = itertools.chain.from_iterable(stream.batches(number) for number in rounds)
        count = max(STATISTICS_BATCHES, min(len(stream), 2 * STATISTICS_BATCHES))
        return (x for x, _ in self._moved(itertools.islice(endless, count)))

    def selection(self) -> Batches:
        """The selection split in fixed order."""
        return self._moved(self.streams.selection.batches())

    def test(self) -> Batches:
        """The test split; read once, at the end of a run."""
        return self._moved(self.streams.test.batches())

    def _moved(self, batches: Batches) -> Batches:
        """The batches on the device; copied one ahead of the one in use where that is a GPU."""
        return batches if self.streams.train.device == self.device else iter(DeviceLoader(batches, self.device))

    def _split(self, split: Split) -> BatchStream:
        # Not both at once: a small set has no whole batch for the search split, and need not have.
        return self.streams.search if split == Split.SEARCH else self.streams.train


class RecordData:
    """Batches ((ids, columns), targets by task) of `records`: a function of seed and epoch.

    Args:
        records: in three parts; nothing is searched, so none trains an architecture.
        batch_size: samples in a training batch.
        seed: run seed.
        device: where batches come out.

    Raises:
        DataError: fewer records than one batch.
    """

    def __init__(self, records: MultitaskData, *, batch_size: int, seed: int, device: torch.device) -> None:
        self.records = records
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        next(self.batches(Split.TRAIN, 0))  # says now that a batch is too large

    @property
    def title(self) -> str:
        """Title of the records, which says what is synthetic."""
        return self.records.title

    @property
    def synthetic(self) -> bool:
        """True: a program wrote the texts."""
        return True

    def length(self, split: Split) -> int:
        """Batches in one epoch of `split`."""
        return len(self._split(split)) // self.batch_size

    def batches(self, split: Split, epoch: int, start: int = 0) -> Batches:
        """The batches of `split` in `epoch` from number `start` on."""
        found = self._split(split).batches(
            self.batch_size, seed=self.seed, epoch=epoch, start_batch=start, training=True
        )
        return self._moved(found)

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """None: the models of records have no BatchNorm."""
        return iter(())

    def selection(self) -> Batches:
        """The selection split in fixed order."""
        return self._moved(self.records.selection.batches(min(EVALUATED, len(self.records.selection))))

    def test(self) -> Batches:
        """The test split; read once, at the end of a run."""
        return self._moved(self.records.test.batches(min(EVALUATED, len(self.records.test))))

    def _moved(self, batches: Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]) -> Batches:
        pairs = (((ids_BL, table_BC), targets) for ids_BL, table_BC, targets in batches)
        return iter(DeviceLoader(pairs, self.device))

    def _split(self, split: Split) -> MultitaskPart:
        return {Split.TRAIN: self.records.train}[split]
