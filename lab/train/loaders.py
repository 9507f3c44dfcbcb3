"""`LoaderData`: a user's data loaders as the parts of a run.

B batch, C channels, H height, W width.
"""

import itertools
from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from lab.base import ConfigError, DataError
from lab.device import DeviceManager
from lab.nn import STATISTICS_BATCHES
from lab.train.strategy import Batches, Split


class LoaderData:
    """Batches of a train, a validation and a decision loader, on the manager's device.

    Args:
        train: (x, y) batches that train weights.
        valid: (x, y) batches that train architecture parameters.
        decision: (x, y) batches in fixed order that decide about mutations; see `divide_loader`.
        devices: moves the batches.

    Raises:
        DataError: a batch is no pair of tensors.
    """

    def __init__(self, train: Any, valid: Any, decision: Any, devices: DeviceManager) -> None:
        self.loaders = {Split.TRAIN: train, Split.SEARCH: valid}
        self.decision = decision
        self.devices = devices

    def length(self, split: Split) -> int:
        """Batches in one epoch of `split`."""
        return len(self.loaders[split])

    def batches(self, split: Split, epoch: int, start: int = 0) -> Batches:
        """The batches of `split` from number `start` on; their order is the loader's own."""
        return itertools.islice(self._pairs(self.loaders[split]), start, None)

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """Inputs of the train loader, at least `STATISTICS_BATCHES` and at most twice as many batches."""
        train = self.loaders[Split.TRAIN]
        count = max(STATISTICS_BATCHES, min(len(train), 2 * STATISTICS_BATCHES))
        endless = itertools.chain.from_iterable(self._pairs(train) for _ in itertools.repeat(None))
        return (x for x, _ in itertools.islice(endless, count))

    def selection(self) -> Batches:
        """The decision loader's batches."""
        return self._pairs(self.decision)

    def _pairs(self, loader: Any) -> Batches:
        for batch in self.devices.create_data_loader_wrapper(loader):
            pair = isinstance(batch, list | tuple) and len(batch) == 2
            if not pair or not all(isinstance(part, Tensor) for part in batch):
                raise DataError("batches (images, labels) of two tensors", _form(batch), "adapt the loader")
            yield batch[0], batch[1]


def divide_loader(loader: Any) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Two loaders on disjoint halves of a loader's data: one as it is, one in fixed order.

    Raises:
        ConfigError: it is no `DataLoader` over an indexed data set of at least two samples.
    """
    known = isinstance(loader, DataLoader) and isinstance(loader.dataset, Sized) and loader.batch_size is not None
    if not known or len(loader.dataset) < 2 or loader.batch_sampler is None:
        raise ConfigError(
            "a DataLoader over an indexed data set, half of which can decide about mutations",
            type(loader).__name__,
            "give decision_loader as well",
        )
    length = len(loader.dataset)
    # A generator of its own: the halves are the same when the run is resumed, and no global stream moves.
    order = torch.randperm(length, generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = isinstance(loader.sampler, torch.utils.data.RandomSampler)
    same: dict[str, Any] = {
        "num_workers": loader.num_workers,
        "collate_fn": loader.collate_fn,
        "pin_memory": loader.pin_memory,
    }
    first, second = Subset(loader.dataset, sorted(order[::2])), Subset(loader.dataset, sorted(order[1::2]))
    # drop_last would leave nothing of a half that is smaller than a batch.
    size = min(loader.batch_size or 1, len(first))
    return (
        DataLoader(first, size, shuffle=shuffled, drop_last=True, generator=loader.generator, **same),
        DataLoader(second, size, **same),
    )


def _form(batch: Any) -> str:
    if isinstance(batch, list | tuple):
        return f"{type(batch).__name__} of {', '.join(type(part).__name__ for part in batch)}"
    return type(batch).__name__
