"""Values of tensors, kept in an unnamed temporary file, so that a copy of a model takes no memory.

The bytes of a tensor on the CPU are written and read as they lie; this costs no more time than a copy in memory.
Tensors of other devices and layouts, and small ones, are copied in the CPU's memory.
"""

import contextlib
import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab.base import ConfigError

_SMALL = 2**14
"""Bytes below which a file is not worth its calls."""
_CHUNK = 2**18


class Spill:
    """The file; closed and gone with the object that holds it.

    Raises:
        ConfigError: the folder of temporary files has no room.
    """

    def __init__(self) -> None:
        self._file: Any = None
        self._end = 0

    def close(self) -> None:
        """Give the space back."""
        if self._file is not None:
            self._file.close()

    def keep(self, tensor: Tensor) -> "Kept":
        """The values that `tensor` has now."""
        memory = _memory(tensor)
        if memory is None:
            return Kept(tensor.detach().to("cpu", copy=True), None, 0)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by `close`)
            start = self._end
            self._file.seek(start)
            done = 0
            while done < memory.nbytes:
                done += self._file.write(memory[done:])
        except OSError as error:
            got = f"{tempfile.gettempdir()}, which says: {error}"
            hint = "set TMPDIR to a folder with as much room as the model and its optimizer take"
            raise ConfigError("a folder of temporary files with room", got, hint) from error
        self._end = start + memory.nbytes
        return Kept(None, self._file, start)


class Kept:
    """The values of one tensor at one time."""

    def __init__(self, copied: Tensor | None, file: Any, start: int) -> None:
        self._copied, self._file, self._start = copied, file, start

    def differs(self, tensor: Tensor) -> bool:
        """The tensor, of the same shape and dtype, has other bits now."""
        if self._copied is not None:
            now = tensor.detach().to("cpu")
            return not torch.equal(_bits(now), _bits(self._copied))
        memory = _memory(tensor)
        if memory is None:
            return True
        self._file.seek(self._start)
        chunk = np.empty(min(_CHUNK, memory.nbytes), np.uint8).data
        for start in range(0, memory.nbytes, _CHUNK):
            part = chunk[: min(_CHUNK, memory.nbytes - start)]
            _fill(self._file, part)
            if not np.array_equal(_words(part), _words(memory[start : start + part.nbytes])):
                return True
        return False

    def read_into(self, tensor: Tensor) -> None:
        """Give the tensor these values; it lies as it did when they were kept."""
        if self._copied is not None:
            tensor.detach().copy_(self._copied)
            return
        memory = _memory(tensor)
        assert memory is not None
        self._file.seek(self._start)
        _fill(self._file, memory)


def _fill(file: Any, memory: memoryview) -> None:
    done = 0
    while done < memory.nbytes:
        done += file.readinto(memory[done:])


def _memory(tensor: Tensor) -> memoryview | None:
    """The tensor's own bytes; None where they are not one piece of the CPU's memory, or few."""
    bare = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    if not bare or tensor.device.type != "cpu" or not tensor.is_contiguous() or tensor.dim() == 0:
        return None
    if tensor.is_conj() or tensor.is_neg() or tensor.numel() * tensor.element_size() < _SMALL:
        return None
    return tensor.detach().view(-1).view(torch.uint8).numpy().data


def _words(memory: memoryview) -> Any:
    array = np.frombuffer(memory, np.uint8)
    return array.view(np.uint64) if array.nbytes % 8 == 0 else array


def _bits(tensor: Tensor) -> Tensor:
    with contextlib.suppress(RuntimeError):
        return tensor.contiguous().view(-1).view(torch.uint8)
    return tensor
