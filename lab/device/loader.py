"""Batches on the device, one ahead of the one in use where the device is a CUDA device."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from lab.device.place import place
from lab.device.walk import named_tensors


class DeviceLoader:
    """A loader whose batches are on a device; everything else of it is the wrapped loader's own.

    On CUDA a batch is copied from pinned memory on a stream of its own while the one before is computed with: the
    loader is one batch ahead. On the CPU and on MPS batches are moved as they are asked for.
    """

    def __init__(self, loader: Iterable[Any], device: torch.device) -> None:
        """Args:
        loader: any iterable of batches that can be gone through again.
        device: where the batches shall be.
        """
        self.loader = loader
        self.device = device

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # not there yet, while a copy is unpickled
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Any]:
        if self.device.type == "cuda":
            return self._ahead()
        return (place(batch, self.device) for batch in self.loader)

    def _ahead(self) -> Iterator[Any]:
        copies = torch.cuda.Stream(self.device)
        following = self._copied(iter(self.loader), copies)
        while following is not None:
            batch, source = following
            # Asked for each batch: the caller may have changed streams since the last one.
            computing = torch.cuda.current_stream(self.device)
            computing.wait_stream(copies)
            for _, tensor in named_tensors(batch):
                if tensor.device == self.device:
                    # made on one stream and used on the other: its memory must not be given away before the use ends
                    tensor.record_stream(computing)
            # Started before this batch is handed out, so that the copy runs while the caller computes.
            following = self._copied(source, copies)
            yield batch

    def _copied(self, source: Iterator[Any], copies: torch.cuda.Stream) -> tuple[Any, Iterator[Any]] | None:
        for batch in source:
            with torch.cuda.stream(copies):
                return place(batch, self.device, non_blocking=True), source
        return None
