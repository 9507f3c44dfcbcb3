"""How many bytes tensors and processes hold now.

Bytes are those of whole storages, each counted once: a view of ten numbers keeps all of its storage alive. Not covered:
memory that is no tensor's storage (numpy's own arrays, code, caches of allocators), which only the resident set shows.
"""

import gc
from collections.abc import Iterable

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy

from lab.device.walk import named_tensors


def tensor_bytes(roots: object) -> int:
    """Bytes of the storages of all tensors under `roots`, gradients included, shared storages once.

    Args:
        roots: a model, an optimizer, a tensor, or a container of such, nested to any depth. Of a model counts what it
            holds: parameters, their gradients, buffers, plain tensor attributes. Meta tensors count 0.
    """
    return storage_bytes(tensor for _, tensor in named_tensors(roots))


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages of `tensors` and of their gradients, shared storages once."""
    return sum(storage.nbytes() for storage in storages(tensors))


def storages(tensors: Iterable[Tensor]) -> list[torch.UntypedStorage]:
    """The storages with data of `tensors` and of their gradients, each once."""
    found: dict[int, torch.UntypedStorage] = {}
    seen: dict[int, Tensor] = {}  # a parameter comes from its module and from its optimizer; kept, so that ids stay
    for tensor in tensors:
        if id(tensor) in seen:
            continue
        seen[id(tensor)] = tensor
        for part in _parts(tensor):
            storage = part.untyped_storage()
            found.setdefault(storage._cdata, storage)
    return list(found.values())


def storage_key(tensor: Tensor) -> int | None:
    """What names the tensor's storage as long as it lives; None for tensors that have none: meta, lazy, sparse."""
    if tensor.is_meta or is_lazy(tensor) or tensor.layout is not torch.strided:
        return None
    return tensor.untyped_storage()._cdata


def process_memory() -> int:
    """Bytes of this process's resident set: what the machine's memory really holds of it.

    Returns:
        Bytes; memory that an allocator keeps for later is in it.
    """
    return int(psutil.Process().memory_info().rss)


def visible_tensors() -> list[Tensor]:
    """Every tensor that a Python object stands for, in this process; tensors that only a graph holds are not seen."""
    # type(), as isinstance() runs the code of lazy proxies
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]


def _parts(tensor: Tensor) -> list[Tensor]:
    """The dense tensors with data that `tensor` and its gradient are made of."""
    if tensor.is_meta or is_lazy(tensor) or isinstance(tensor, FakeTensor):
        return []
    plain = type(tensor) is Tensor or type(tensor) is nn.Parameter
    parts: list[Tensor] = []
    if not plain and hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:
            parts += _parts(getattr(tensor, name))
    elif tensor.layout is torch.strided:
        parts = [tensor]
    elif tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        parts = [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    if tensor.is_leaf and tensor.grad is not None:
        parts += _parts(tensor.grad)
    return parts
