"""Put back what a trial run of the user's code left behind: caches, globals, class attributes, closures, containers.

Everything that `reach` finds is noted before the run and compared by identity after it; tensors up to 1 MiB that were
written get their bytes back. Exact, but for two things: a `functools.lru_cache` with a limit that the run changed is
emptied (it computes its values again), and counts of hits stay. Not covered: larger tensors, arrays of numpy, files,
and what `reach` does not find.
"""

import gc
import operator
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CellType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import _pytree as pytree

from lab.device.holders import slot_values, slots_of_kind
from lab.doctor.fake_device import FakeDeviceTensor
from lab.doctor.reach import CACHE, Reached, cell_content, is_opened, reach

_FIXED = frozenset(["__dict__", "__weakref__", "__abstractmethods__", "_abc_impl"])
_LARGE = 2**20
_GONE = object()

Restore = Callable[[], list[Any]]
"""Puts one object back as it was; gives what the run had left in it."""


def is_stand_in(value: object) -> bool:
    """The object is a tensor without values, or one under the label of a device."""
    return isinstance(value, FakeTensor | FakeDeviceTensor)


def kept_stand_ins() -> tuple[str, ...]:
    """Paths of the stand-ins that the user's modules hold."""
    return tuple(dict.fromkeys(here.path for here in reach() if is_stand_in(here.value)))


@contextmanager
def untouched(**roots: Any) -> Iterator[list[str]]:
    """What outlives the block is afterwards as before it; gives a list, filled at its end, of what kept stand-ins.

    Args:
        roots: objects of the user's beside the modules, by name.
    """
    with _without_collector():
        notes = [(here, restore) for here in reach(roots.items()) if (restore := _restorer(here)) is not None]
    kept: dict[str, None] = {}
    names: list[str] = []
    try:
        yield names
    finally:
        with _without_collector():
            for here, restore in notes:
                if (left := restore()) and any(map(is_stand_in, pytree.tree_leaves(left))):
                    kept[here.path] = None
        names += kept


@contextmanager
def _without_collector() -> Iterator[None]:
    """Thousands of small objects are made at once: the collector would walk the whole process again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _restorer(here: Reached) -> Restore | None:
    value = here.value
    kind = type(value)
    if kind is FunctionType:
        # Its attributes, where it has any, are a dict that `reach` finds.
        return None if value.__dict__ else _of_bare(value)
    if isinstance(value, dict):
        module = here.parent is not None and isinstance(here.parent.value, ModuleType)
        return _of_dict(value, keeps_modules=module)
    for kinds, restorer in _RESTORERS:
        if issubclass(kind, kinds):
            return restorer(value)
    if is_opened(kind) and slots_of_kind(kind):
        return _of_names(value, lambda: slot_values(value), object.__setattr__, object.__delattr__)
    return None


def _of_nothing(value: Any) -> None:
    """What cannot change, or is changed through what it leads to."""


def _of_dict(value: dict[Any, Any], *, keeps_modules: bool) -> Restore:
    keys, values = list(value), list(value.values())
    kind: Any = OrderedDict if isinstance(value, OrderedDict) else dict

    def restore() -> list[Any]:
        if _same(values, list(value.values())) and _same(keys, list(value)):
            return []
        before, after = zip(keys, values, strict=True), list(value.items())
        old = set(map(id, values))
        # an imported module stays: the next import of it would not bind the name again
        stay = [item for item in after if keeps_modules and isinstance(item[1], ModuleType) and id(item[1]) not in old]
        kind.clear(value)
        for key, item in (*before, *stay):
            kind.__setitem__(value, key, item)
        return [item for _, item in after if id(item) not in old]

    return restore


def _of_sequence(value: Any) -> Restore:
    before = list(value)

    def restore() -> list[Any]:
        after = list(value)
        if _same(before, after):
            return []
        kind = deque if isinstance(value, deque) else list
        kind.clear(value)
        kind.extend(value, before)
        return after

    return restore


def _of_set(value: set[Any]) -> Restore:
    before = set.copy(value)

    def restore() -> list[Any]:
        added = [item for item in list(value) if item not in before]
        if added or len(value) != len(before):
            set.clear(value)
            set.update(value, before)
        return added

    return restore


def _of_cell(cell: CellType) -> Restore:
    before = cell_content(cell)

    def restore() -> list[Any]:
        after = cell_content(cell)
        if _same(before, after):
            return []
        if before:
            cell.cell_contents = before[0]
        else:
            del cell.cell_contents
        return list(after)

    return restore


def _of_bare(function: FunctionType) -> Restore:
    """A function without attributes."""

    def restore() -> list[Any]:
        added = list(function.__dict__.values())
        function.__dict__.clear()
        return added

    return restore


def _of_cache(cache: Any) -> Restore | None:
    """A cache without a limit is a dict, which is noted as such; one with a limit can only be emptied."""
    if cache.cache_parameters()["maxsize"] is None:
        return None
    before = cache.cache_info().misses

    def restore() -> list[Any]:
        if cache.cache_info().misses == before:
            return []
        held = [item.value for item in reach([("", cache)]) if item.parent is not None]
        cache.cache_clear()
        return [item for item in held if isinstance(item, Tensor)]

    return restore


def _of_class(value: type) -> Restore:
    return _of_names(value, lambda: vars(value), type.__setattr__, type.__delattr__)


def _of_names(
    value: Any, read: Callable[[], Mapping[str, Any]], put: Callable[..., None], drop: Callable[..., None]
) -> Restore:
    before = dict(read())

    def restore() -> list[Any]:
        after, left = dict(read()), []
        for name in dict.fromkeys((*before, *after)):
            old, new = before.get(name, _GONE), after.get(name, _GONE)
            if old is new or name in _FIXED:
                continue
            left.append(new)
            if old is _GONE:
                drop(value, name)
            else:
                put(value, name, old)
        return left

    return restore


def _of_tensor(tensor: Tensor) -> Restore | None:
    """The bytes of a tensor; parameters are copied before they are run."""
    if isinstance(tensor, nn.Parameter) or tensor.is_meta or tensor.layout is not torch.strided or is_stand_in(tensor):
        return None
    if tensor.is_inference() or tensor.numel() * tensor.element_size() > _LARGE:
        return None
    version, values = tensor._version, tensor.detach().clone()

    def restore() -> list[Any]:
        if tensor._version != version:
            tensor.detach().copy_(values)
        return []

    return restore


def _same(before: Any, after: Any) -> bool:
    return len(before) == len(after) and all(map(operator.is_, before, after))


_RESTORERS: tuple[tuple[Any, Callable[[Any], Restore | None]], ...] = (
    (CellType, _of_cell),
    ((tuple, frozenset, ModuleType), _of_nothing),
    ((list, deque), _of_sequence),
    (set, _of_set),
    (CACHE, _of_cache),
    (type, _of_class),
    (Tensor, _of_tensor),
)
"""How instances of a class are put back, by the first row that fits it."""
