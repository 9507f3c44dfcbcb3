"""Batches of a stream prepared by worker processes, in the stream's own order and with its own bits.

Worth it where preparing a batch costs more than handing it over; `lab bench loading` measures which.
Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lab.base import DataError, require_range
from lab.datasets.stream import BatchStream


class WorkerBatches(Dataset[tuple[Tensor, Tensor]]):
    """The batches of `stream`, which must lie in the main memory, by `workers` processes.

    Args:
        stream: held on the CPU.
        workers: processes, >= 1.
        pinned: hand batches over in pinned memory, from which a copy to a GPU need not be waited for.

    Raises:
        ConfigError: no worker.
        DataError: the stream is held on another device, whose tensors a process cannot hand over.
    """

    def __init__(self, stream: BatchStream, workers: int, *, pinned: bool = False) -> None:
        require_range("workers", workers, 1)
        if stream.device.type != "cpu":
            raise DataError("a stream in the main memory", f"one on {stream.device}", "open it with device cpu")
        self.stream = stream
        self.workers = workers
        self.pinned = pinned

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Batch (epoch, number)."""
        return self.stream.batch(*key)

    def __len__(self) -> int:
        return len(self.stream)

    def batches(self, epoch: int, start_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """As `BatchStream.batches`; the processes end with the epoch."""
        require_range("epoch", epoch, 0)
        require_range("start_batch", start_batch, 0, len(self))
        keys = [(epoch, number) for number in range(start_batch, len(self))]
        # The sampler gives keys in order, and a loader hands results over in the order of its keys.
        loader = DataLoader(self, batch_size=None, sampler=keys, num_workers=self.workers, pin_memory=self.pinned)
        return iter(loader)
