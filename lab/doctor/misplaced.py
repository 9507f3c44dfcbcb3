"""Which of a call's tensors is on the wrong device, and what mistake brought it there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lab.device.inventory import PLAIN_ATTRIBUTE
from lab.doctor import hidden
from lab.doctor.fake_device import label_of
from lab.doctor.reach import reach
from lab.doctor.stand_in import Copied, Places

ATTRIBUTE = "plain attribute"
INPUT = "input not moved"
STALE = "stale device"
MADE = "tensor made in forward"
CROSSING = "activation not moved between parts"
NUMPY = "numpy in forward"
CACHED = "cached on another device"
KEPT = "cached tensor"
_REGISTRY = re.compile(r"\._(?:modules|buffers|parameters)(?=\.)")

FIXES = {
    ATTRIBUTE: "register_buffer('name', tensor, persistent=False): to() moves registered tensors only",
    CACHED: "keep one such tensor for each device (the device in the key of the cache), or move it where it is used",
    **hidden.FIXES,
    INPUT: "move the batch: lab.device.place(batch, device)",
    STALE: "make the tensor on the input's device (device=x.device), not on one that was written down",
    MADE: "make the tensor on the input's device: torch.zeros(..., device=x.device), or x.new_zeros(...)",
    CROSSING: "move the activation where the parts meet: x = x.to(next_part_device)",
    NUMPY: "stay in torch, or take the value to the CPU on purpose: tensor.detach().cpu().numpy()",
}


@dataclass(frozen=True, kw_only=True)
class FailedCall:
    """A call of torch that failed."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.func, "__name__", self.func))


@dataclass(frozen=True, kw_only=True)
class Operand:
    """A tensor of a call."""

    name: str
    """Full name in the model, number of the argument of forward, path of what keeps a cached tensor, else empty."""
    kind: str
    """parameter, a kind of buffer, plain attribute, input, cached tensor or activation."""
    device: str
    """As torch writes it."""
    shape: tuple[int, ...]
    """Sizes of its dimensions."""
    dtype: str = ""
    """As torch writes it, without `torch.`."""

    def __str__(self) -> str:
        return f"{self.kind}{f' {self.name}' if self.name else ''} {self.shape} on {self.device}"


def operands_of(call: FailedCall, copied: Copied, inputs: Sequence[Any]) -> tuple[Operand, ...]:
    """The tensors of `call` with their names."""
    positions = {id(leaf): number for number, leaf in enumerate(inputs) if isinstance(leaf, Tensor)}
    kept: dict[int, str] | None = None
    found = []
    for leaf in pytree.tree_leaves((call.args, call.kwargs)):
        if isinstance(leaf, Tensor):
            name, kind = copied.tensors.get(id(leaf), ("", "activation"))
            if id(leaf) in positions:
                name, kind = str(positions[id(leaf)]), "input"
            elif kind == "activation" and not leaf.requires_grad:
                kept = _kept(copied) if kept is None else kept
                path = kept.get(_memory_of(leaf))
                name, kind = ("", kind) if path is None else (path, KEPT)
            shape = tuple(int(size) for size in leaf.shape)
            dtype = str(leaf.dtype).removeprefix("torch.")
            found.append(Operand(name=name, kind=kind, device=str(label_of(leaf)), shape=shape, dtype=dtype))
    return tuple(found)


def _kept(copied: Copied) -> dict[int, str]:
    """Who keeps a tensor beyond the forward (the model, a cache, a global), by the tensor's memory."""
    paths: dict[int, str] = {}
    for here in reach([("", copied.model)]):
        if isinstance(here.value, Tensor) and torch._C._has_storage(here.value):
            path = _REGISTRY.sub("", here.path).lstrip(".")
            paths.setdefault(_memory_of(here.value), path)
    return paths


def _memory_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if torch._C._has_storage(tensor) else 0


def cause_of(operands: Sequence[Operand], copied: Copied, places: Places, module: str) -> str:
    """The mistake, told by the operand that is not where the module is."""
    home = str(places.of(module))
    wrong = [operand for operand in operands if operand.device != home]
    if len({operand.device for operand in operands}) <= 1:
        return NUMPY
    for operand in wrong:
        kind = next((kind for path, kind in copied.hidden.items() if operand.name.startswith(path)), None)
        if kind is not None:
            return kind
        if operand.name in copied.unregistered:
            return hidden.UNREGISTERED
        if operand.kind == PLAIN_ATTRIBUTE:
            return ATTRIBUTE
        if operand.kind == "input" and operand.device not in map(str, places.devices):
            return INPUT
    if any(operand.kind == KEPT for operand in operands):
        return CACHED
    if any(operand.device in map(str, places.devices) for operand in wrong):
        return CROSSING
    if any(_writes_down(copied, operand.device) for operand in wrong):
        return STALE
    return MADE


def _writes_down(copied: Copied, device: str) -> bool:
    """Some module keeps that device in an attribute."""
    owners = [owner for owner in copied.model.modules() if id(owner) in copied.modules]
    values = [value for owner in owners for value in vars(owner).values()]
    return any(isinstance(value, torch.device | str) and str(value) == device for value in values)
