"""The values of a step: which call of torch made each tensor, from which others, whether it is finite, whether a
gradient goes through.

Unlike the graph of autograd this follows tensors that carry no gradient, so that the place where one was lost can be
found on the way from a parameter to the loss. Covered: calls of torch from Python on this thread. Not covered: the
insides of one call, of scripted code and of torch.func; a number that Python computes with (every tensor made from
numbers afterwards counts as made from it).
"""

import cmath
import math
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.doctor.place import Site

TO_PYTHON = "a value taken to Python"
_HALF = frozenset([torch.float16, torch.bfloat16])
_WHOLE = frozenset([torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
_level = torch._C._functorch.maybe_current_level
FINITE, INF, NAN, ZERO = "finite", "inf", "nan", "zero"


@dataclass(slots=True, eq=False)
class CallRecord:
    """A call of torch, or a tensor from outside the step (`operation` is then empty)."""

    operation: str
    site: Site | None
    parents: "tuple[CallRecord, ...]"
    """Who made its inputs."""
    leaf: int = 0
    """Identity of the leaf that requires a gradient, where the record stands for one."""
    source: "weakref.ref[Tensor] | None" = None
    """The tensor from outside."""
    values: str = FINITE
    """Of its results: finite, inf, or nan where one is no number."""
    number: int = 0
    """Calls of the step before it."""
    dtype: torch.dtype | None = None
    """Of its first result."""
    cut: str = ""
    """Why an input needs a gradient and no result does; empty where the gradient goes through."""


class Values:
    """The record of each tensor that is alive.

    Args:
        owned: identities of leaves whose gradients somebody else puts back.
    """

    def __init__(self, owned: frozenset[int]) -> None:
        self._owned = owned
        self._foreign: list[tuple[Tensor, Tensor | None, Tensor | None]] = []
        self._known: dict[int, tuple[weakref.ref[Tensor], CallRecord]] = {}
        self.sources: dict[int, CallRecord] = {}
        """By identity: leaves that require a gradient and were read."""
        self.uses: dict[int, CallRecord] = {}
        """By identity of a leaf: the first call that computed with it."""
        self.taken: list[CallRecord] = []
        """Calls that gave values to Python."""

    def close(self) -> None:
        """Let go of every tensor; leaves that nobody owns get back the gradient that they had."""
        self._known.clear()
        for tensor, gradient, copied in self._foreign:
            if gradient is not None and copied is not None:
                gradient.detach().copy_(copied)
            tensor.grad = gradient
        self._foreign.clear()

    def find(self, tensor: Tensor) -> CallRecord | None:
        """The record of `tensor`, if one of the calls made it."""
        found = self._known.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def of(self, tensor: Tensor) -> CallRecord:
        """The record of `tensor`; one that no call made comes from outside."""
        found = self._known.get(id(tensor))
        if found is not None and found[0]() is tensor:
            record = found[1]
            if record.cut and tensor.requires_grad and not tensor.is_leaf:
                # the result of a custom function, whose own forward runs without gradients
                record.cut = ""
            return record
        record = self._outside(tensor)
        self.keep(tensor, record)
        return record

    def keep(self, tensor: Tensor, record: CallRecord) -> None:
        """`tensor` is a result of the call of `record`."""
        self._known[id(tensor)] = (weakref.ref(tensor), record)

    def _outside(self, tensor: Tensor) -> CallRecord:
        record = CallRecord("", None, (), source=weakref.ref(tensor), dtype=tensor.dtype)
        if tensor.grad_fn is not None:
            record.operation = tensor.grad_fn.name()
            record.parents = tuple(self.of(leaf) for leaf in leaves_of(tensor.grad_fn))
        elif tensor.requires_grad:
            record.leaf = id(tensor)
            self.sources[record.leaf] = record
            if record.leaf not in self._owned:
                before = tensor.grad
                self._foreign.append((tensor, before, None if before is None else before.detach().clone()))
        elif _from_numpy(tensor):
            record.parents = tuple(self.taken)
        record.values = spread(tensor)
        return record


def _from_numpy(tensor: Tensor) -> bool:
    """The memory is not torch's: numpy made it, maybe from values that it was given."""
    return torch._C._has_storage(tensor) and not tensor.is_meta and not tensor.untyped_storage().resizable()


def leaves_of(node: Any) -> Iterator[Tensor]:
    """The leaves that a backward from `node` reaches."""
    seen, stack = {node}, [node]
    while stack:
        here = stack.pop()
        variable = getattr(here, "variable", None)
        if isinstance(variable, Tensor):
            yield variable
        for parent, _ in here.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)


def behind(records: Iterable[CallRecord]) -> list[CallRecord]:
    """The records and all those that led to them."""
    found: dict[int, CallRecord] = {id(record): record for record in records}
    stack = list(found.values())
    while stack:
        for parent in stack.pop().parents:
            if id(parent) not in found:
                found[id(parent)] = parent
                stack.append(parent)
    return list(found.values())


def total(tensor: Tensor) -> float | complex | None:
    """The sum of a tensor's floating elements, not finite where one of them is not; None where it cannot be asked.

    A sum of finite numbers may overflow.
    """
    dtype = tensor.dtype
    if not _readable(tensor) or dtype in _WHOLE:
        return None
    values = tensor.detach()
    if dtype is torch.float32 and values.layout is torch.strided:
        return values.sum().item()
    if values.layout is torch.sparse_coo:
        values = values._values()
    elif values.layout is not torch.strided:
        return None
    return values.sum(dtype=torch.float32 if dtype in _HALF else None).item()


def readable(tensor: Tensor) -> bool:
    """The tensor has floating values that can be read from here."""
    return _readable(tensor) and tensor.dtype not in _WHOLE


def _readable(tensor: Tensor) -> bool:
    kind = type(tensor)
    if (kind is not Tensor and kind is not torch.nn.Parameter) or tensor.is_meta:
        return False
    # under torch.func a tensor stands for many
    return _level() is None


def spread(tensor: Tensor) -> str:
    """nan, inf or finite: the worst of the tensor's values, as far as they can be read."""
    value = total(tensor)
    if value is None or cmath.isfinite(value):
        return FINITE
    found = _exactly(tensor)
    return FINITE if found == ZERO else found


def kind_of_values(tensor: Tensor) -> str:
    """nan, inf, zero or finite."""
    value = total(tensor)
    if value is None or (cmath.isfinite(value) and value != 0):
        return FINITE
    return _exactly(tensor)


def _exactly(tensor: Tensor) -> str:
    values = tensor.detach()
    if values.layout is torch.sparse_coo:
        values = values._values()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    if not values.numel():
        return ZERO
    low, high = (each.item() for each in torch.aminmax(values))
    if low != low or high != high:
        return NAN
    if low in (-math.inf, math.inf) or high == math.inf:
        return INF
    return ZERO if low == high == 0 else FINITE
