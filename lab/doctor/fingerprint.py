"""The bytes of a tensor as one number, read without torch's operations.

A fingerprint is the CRC-32 of the elements' memory: any write of other bytes changes it (but for one in 2^32), whatever
wrote, and the order of elements counts. A glance is cheaper and sees most. Covered: strided CPU tensors of any dtype.
Not covered: other devices and layouts; there is no fingerprint then.
"""

import ctypes
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SMALL = 2**12
_PARTS = 8
_PARTED = 8 * _PARTS


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a tensor lies in its storage; all in bytes but `size`."""

    start: int
    stop: int
    size: tuple[int, ...]
    strides: tuple[int, ...]
    item: int
    on_cpu: bool

    @property
    def dense(self) -> bool:
        """Every byte from start to stop is an element's."""
        count = self.item
        for length in self.size:
            count *= length
        return count == self.stop - self.start

    def overlaps(self, start: int, stop: int) -> bool:
        """Whether the bytes from start to stop of the same storage meet the tensor's."""
        return self.start < stop and start < self.stop


def layout_of(tensor: Tensor) -> Layout | None:
    """The layout of `tensor`; None where it has no memory of its own (fake, sparse, wrapper of another)."""
    if tensor.layout != torch.strided or type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.is_meta:
        return None
    item = tensor.element_size()
    start = int(tensor.storage_offset()) * item
    size, strides = tuple(tensor.shape), tuple(step * item for step in tensor.stride())
    if 0 in size:
        return None
    stop = start + item + sum((length - 1) * step for length, step in zip(size, strides, strict=True))
    return Layout(start, stop, size, strides, item, tensor.device.type == "cpu")


def fingerprint(storage: torch.UntypedStorage, layout: Layout) -> int | None:
    """CRC-32 of the elements at `layout` of `storage`; None where the memory cannot be read from here."""
    # A storage that was resized since is shorter than the layout says: to read on would be to read foreign memory.
    if not layout.on_cpu or storage.nbytes() < layout.stop:
        return None
    count = layout.stop - layout.start
    memory: Any = (ctypes.c_char * count).from_address(storage.data_ptr() + layout.start)
    if layout.dense:
        return zlib.crc32(memory)
    return zlib.crc32(_gathered(memory, layout))


def glance(storage: torch.UntypedStorage, layout: Layout) -> int | None:
    """A number that most writes change, at a tenth of a fingerprint's cost; None where the memory cannot be read.

    Sums of eight parts: words that change places within a part are not seen.
    """
    size = layout.stop - layout.start
    if size < _SMALL or not layout.dense or size % _PARTED:
        return fingerprint(storage, layout)
    if not layout.on_cpu or storage.nbytes() < layout.stop:
        return None
    memory: Any = (ctypes.c_char * size).from_address(storage.data_ptr() + layout.start)
    parts = np.frombuffer(memory, np.uint64).reshape(_PARTS, -1)
    return hash(parts.sum(1).tobytes())


def _gathered(memory: Any, layout: Layout) -> Any:
    elements = np.ndarray((*layout.size, layout.item), np.uint8, memory, 0, (*layout.strides, 1))
    return np.ascontiguousarray(elements).data
