"""Move nested data to a device and give the same types back.

Covered: tensors, modules, lists, tuples, named tuples, dicts, sets, dataclasses, packed sequences, and objects that
have a `.to(device)` of their own (batch encodings). Not covered: iterators, which would be used up (refused).
Everything without tensors (numbers, text, arrays of numpy) comes back as it is.
"""

import array
import copy
import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from lab.base import MaterializeError, PlacementError, sequence_like
from lab.device.choose import require_device

T = TypeVar("T")


@runtime_checkable
class Movable(Protocol):
    """An object that moves itself."""

    def to(self, device: torch.device) -> Any:
        """The same object's content on `device`."""


def place(data: T, device: str | torch.device, *, non_blocking: bool = False) -> T:
    """`data` with every tensor on `device`, in containers of the same types.

    Containers are copied, modules are moved in place (they stay the same object), and a tensor that occurs twice
    occurs twice in the result. With `non_blocking` copies to CUDA go on, from pinned memory, after the return.

    Args:
        data: tensors in containers, to any depth.
        device: cpu, cuda, cuda:N or mps.
        non_blocking: do not wait for copies to CUDA; without effect on other devices.

    Raises:
        PlacementError: the machine has no such device, or `data` holds an iterator or a meta tensor.
        MaterializeError: a module has meta tensors; nothing of it was moved.
    """
    return _place(data, require_device(device), non_blocking, {})


def _place(data: Any, device: torch.device, non_blocking: bool, memo: dict[int, tuple[Any, Any]]) -> Any:
    if id(data) not in memo:
        # the original is kept beside its copy, so that its id stays its own
        memo[id(data)] = (data, _place_new(data, device, non_blocking, memo))
    return memo[id(data)][1]


def _place_new(data: Any, device: torch.device, non_blocking: bool, memo: dict[int, tuple[Any, Any]]) -> Any:
    def inner(item: Any) -> Any:
        return _place(item, device, non_blocking, memo)

    if isinstance(data, Tensor):
        return _place_tensor(data, device, non_blocking)
    if isinstance(data, nn.Module):
        return _place_module(data, device, non_blocking)
    if isinstance(data, Movable) and not isinstance(data, type):
        # batch encodings write into themselves: the caller's object stays as it was
        own = data if isinstance(data, tuple) else copy.copy(data)
        return own.to(device)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return _place_dataclass(data, inner)
    if isinstance(data, MutableMapping):
        result = copy.copy(data)
        for key, value in data.items():
            result[key] = inner(value)
        return result
    if isinstance(data, Mapping):
        return type(data)({key: inner(value) for key, value in data.items()})  # type: ignore[call-arg]
    if isinstance(data, tuple):
        return sequence_like(data, map(inner, data))
    if isinstance(data, set | frozenset):
        return type(data)(inner(item) for item in data)
    # These two hold numbers alone: to go through them item by item would only cost time.
    if isinstance(data, MutableSequence) and not isinstance(data, bytearray | array.array):
        row = copy.copy(data)
        for index, item in enumerate(data):
            row[index] = inner(item)
        return row
    if isinstance(data, Iterator):
        hint = "make it a list, or wrap the loader"
        raise PlacementError("data that can be read twice", f"an iterator ({type(data).__name__})", hint)
    return data


def _place_tensor(tensor: Tensor, device: torch.device, non_blocking: bool) -> Tensor:
    if tensor.is_meta:
        got = f"a meta tensor of shape {tuple(tensor.shape)}"
        raise PlacementError("tensors that have data", got, "make it on a real device")
    if non_blocking and device.type == "cuda" and tensor.device.type == "cpu" and tensor.layout is torch.strided:
        tensor = tensor.pin_memory()  # from other memory the copy would block
    return tensor.to(device, non_blocking=non_blocking)


def _place_module(module: nn.Module, device: torch.device, non_blocking: bool) -> nn.Module:
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    meta = [name for name, tensor in named if tensor.is_meta]
    if meta:
        got = f"{type(module).__name__} with {len(meta)} meta tensors: {', '.join(meta)}"
        hint = "fill them with materialize(model, device, state=...)"
        raise MaterializeError("a module whose tensors have data", got, hint)
    return module.to(device, non_blocking=non_blocking)


def _place_dataclass(data: Any, inner: Any) -> Any:
    result = copy.copy(data)
    for field in dataclasses.fields(data):
        # A field with init=False may have no value yet.
        if not hasattr(data, field.name):
            continue
        value = getattr(data, field.name)
        moved = inner(value)
        if moved is value:
            continue
        if type(data).__dataclass_params__.frozen:
            object.__setattr__(result, field.name, moved)
        else:
            setattr(result, field.name, moved)
    return result
