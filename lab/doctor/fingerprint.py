"""The bytes of a tensor as one number, read without torch's operations.

A fingerprint is the CRC-32 of the elements' memory: any write of other bytes changes it (but for one in 2^32), whatever
wrote, and the order of elements counts. A glance is ten times cheaper and sees most. Covered: strided CPU tensors of
any dtype. Not covered: other devices and layouts; there is no fingerprint then.
"""

import ctypes
import functools
import math
import zlib
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_SMALL = 2**12
_PARTS = 8
_PARTED = 8 * _PARTS
_FIRST = 2**10
"""Words at the beginning of a part."""
_WORDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Layout(NamedTuple):
    """Where a tensor lies in its storage; all in bytes but `size`, whose dimensions need not be the tensor's own."""

    start: int
    stop: int
    size: tuple[int, ...]
    strides: tuple[int, ...]
    item: int
    on_cpu: bool
    dense: bool
    """Every byte from start to stop is an element's."""

    def overlaps(self, start: int, stop: int) -> bool:
        """Whether the bytes from start to stop of the same storage meet the tensor's."""
        return self.start < stop and start < self.stop


def layout_of(tensor: Tensor) -> Layout | None:
    """The layout of `tensor`; None where it has no memory of its own (fake, sparse, wrapper of another)."""
    kind = type(tensor)
    if (kind is not Tensor and kind is not torch.nn.Parameter) or tensor.layout is not torch.strided or tensor.is_meta:
        return None
    item, count = tensor.element_size(), tensor.numel()
    if not count:
        return None
    start = int(tensor.storage_offset()) * item
    if tensor.is_contiguous():
        return Layout(start, start + count * item, (count,), (item,), item, tensor.is_cpu, True)
    # An expanded dimension is one row of memory.
    dims = [(length, step * item) for length, step in zip(tensor.shape, tensor.stride(), strict=True) if step]
    stop = start + item + sum([(length - 1) * step for length, step in dims])
    size, strides = tuple([length for length, _ in dims]), tuple([step for _, step in dims])
    return Layout(start, stop, size, strides, item, tensor.is_cpu, math.prod(size) * item == stop - start)


def fingerprint(storage: torch.UntypedStorage, layout: Layout) -> int | None:
    """CRC-32 of the elements at `layout` of `storage`; None where the memory cannot be read from here."""
    memory = _memory(storage, layout)
    if memory is None:
        return None
    return zlib.crc32(memory if layout.dense else _elements(memory, layout).tobytes())


def glance(storage: torch.UntypedStorage, layout: Layout, *, whole: bool = True) -> int | None:
    """A number that most writes change, at a tenth of a fingerprint's cost; None where the memory cannot be read.

    Sums of words of eight bytes over eight parts: words that change places within a part are not seen. Without `whole`
    a part gives its first 8 KiB only, so that a large tensor costs no more than one of 64 KiB: what is written
    elsewhere in it is not seen.
    """
    memory = _memory(storage, layout)
    if memory is None:
        return None
    if not layout.dense:
        memory = _elements(memory, layout).tobytes()
    size = len(memory)
    if size < _SMALL:
        return zlib.crc32(memory)
    rest = size % _PARTED
    words = np.frombuffer(memory, np.uint64, (size - rest) // 8).reshape(_PARTS, -1)
    if not whole:
        words = words[:, :_FIRST]
    sums = np.add.reduce(words, 1).tobytes()
    return hash(sums + memory[-rest:] if rest else sums)


def _memory(storage: torch.UntypedStorage, layout: Layout) -> Any:
    # A storage that was resized since is shorter than the layout says: to read on would be to read foreign memory.
    if not layout.on_cpu or storage.nbytes() < layout.stop:
        return None
    return _array(layout.stop - layout.start).from_address(storage.data_ptr() + layout.start)


@functools.lru_cache(maxsize=1024)
def _array(count: int) -> Any:
    return ctypes.c_char * count


def _elements(memory: Any, layout: Layout) -> np.ndarray:
    kind = _WORDS.get(layout.item)
    if kind is not None:
        return np.ndarray(layout.size, kind, memory, 0, layout.strides)
    return np.ndarray((*layout.size, layout.item), np.uint8, memory, 0, (*layout.strides, 1))
