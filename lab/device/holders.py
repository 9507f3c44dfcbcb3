"""Who keeps a tensor alive: the path of names that leads to it.

Covered: containers and arrays of objects, attributes of objects and classes, closures, bound methods, partial
functions, suspended generators, caches and iterators, gradients, and the graph behind a tensor (what its operations
saved for backward).
Not covered: references that only C++ code or other threads' running frames hold.
"""

import functools
import gc
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import (
    CellType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from lab.device.footprint import storage_key

# Bounds the time of a search: the leak is reported without a path, too.
_MOST_OBJECTS = 300_000
_PATTERN, _FOLDED = 4, 3
"""Steps in a pattern, at most, and how often it has to repeat to be folded."""
_OF_THE_IMPORT = frozenset({"__builtins__", "__loader__", "__spec__"})
_CACHE = type(functools.lru_cache(lambda: None))
_SLOTLESS: WeakSet[type] = WeakSet()
"""Classes that were asked for their slots and have none, as most; a class keeps the slots that it was made with."""
_SEQUENCES = (list, tuple, set, frozenset, deque)
_LEAVES = (str, bytes, bytearray, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)


def storage_of_tensor(thing: object) -> int | None:
    """The storage of a tensor by `untyped_storage()._cdata`; None for anything else."""
    return storage_key(thing) if isinstance(thing, Tensor) else None


def find_holders(
    roots: Mapping[str, object] | Iterable[tuple[str, object]],
    wanted: frozenset[int],
    key_of: Callable[[Any], int | None] = storage_of_tensor,
) -> dict[int, str]:
    """A shortest path of names to each of the things `wanted`, where `roots` lead to it; steps that repeat are folded.

    Args:
        roots: where to begin, by name.
        wanted: the keys of the things.
        key_of: the key of a thing that is met; None or 0 where it has none.
    """
    found: dict[int, str] = {}
    seen: dict[int, object] = {}
    queue: deque[tuple[_Way, Any]] = deque()

    def meet(before: _Way | None, named: Iterable[tuple[str, Any]]) -> None:
        for step, thing in named:
            # Most of what is met was met before, and a way to it need not be made.
            if isinstance(thing, _LEAVES) or id(thing) in seen:
                continue
            seen[id(thing)] = thing  # kept, so that the id stays its own
            way = _Way(step, before)
            queue.append((way, thing))
            key = key_of(thing)
            if key and key in wanted:
                found.setdefault(key, way.text)

    meet(None, roots.items() if isinstance(roots, Mapping) else roots)
    for _ in range(_MOST_OBJECTS):
        if not queue or len(found) >= len(wanted):
            break
        way, thing = queue.popleft()
        meet(way, _children(thing))
    return found


@dataclass(frozen=True, slots=True)
class _Way:
    """The steps to an object; a graph may be many thousand steps deep, so each step is kept once."""

    step: str
    before: "_Way | None"

    @property
    def text(self) -> str:
        """The steps as one path, those that repeat folded: `.AddBackward0 x40`."""
        steps: list[str] = []
        here: _Way | None = self
        while here is not None:
            steps.append(here.step)
            here = here.before
        return "".join(_folded(steps[::-1]))


def _folded(steps: list[str]) -> Iterator[str]:
    at = 0
    while at < len(steps):
        # Layers make patterns of several steps; the shortest one that repeats is folded.
        for width in range(1, _PATTERN + 1):
            pattern, times = steps[at : at + width], 1
            while steps[at + times * width : at + (times + 1) * width] == pattern:
                times += 1
            if times >= _FOLDED and len(pattern) == width:
                yield f"{''.join(pattern)} x{times}" if width == 1 else f"({''.join(pattern)}) x{times}"
                at += times * width
                break
        else:
            yield steps[at]
            at += 1


def graphs_that_hold_themselves(tensors: Iterable[Tensor]) -> Iterator[tuple[str, object]]:
    """The leaves among `tensors` whose gradient has a graph (`create_graph=True`), each with what it is.

    Such a graph leads back to its leaf inside C++, where the cyclic collector does not see it.
    """
    for tensor in tensors:
        if tensor.is_leaf and tensor.grad is not None and tensor.grad.grad_fn is not None:
            kind = "parameter" if isinstance(tensor, nn.Parameter) else "tensor"
            yield f"({kind} {tuple(tensor.shape)}, kept by its own gradient of create_graph=True)", tensor


def names_around(function: object) -> dict[str, object]:
    """What a function can reach by name: its closure, its object, its defaults, the globals of its module."""
    if isinstance(function, functools.partial):
        given = {f"argument {number}": value for number, value in enumerate(function.args)}
        return {**names_around(function.func), **given, **function.keywords}
    if isinstance(function, MethodType):
        return {**names_around(function.__func__), "self": function.__self__}
    if not isinstance(function, FunctionType):
        return {type(function).__name__: function}
    return {**_globals_of(function.__globals__), **{step.lstrip("."): value for step, value in _closure(function)}}


def names_of_user_modules() -> dict[str, object]:
    """The globals of every loaded module that is neither Python's own nor installed."""
    folders = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    names: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(module, ModuleType) and file and not file.startswith(folders):
            names.update({f"{name}.{key}": value for key, value in _globals_of(vars(module)).items()})
    return names


def _globals_of(names: Mapping[str, object]) -> dict[str, object]:
    """The globals of a module without what the import has put there: a loader leads to all of its program."""
    own = {name: value for name, value in names.items() if name not in _OF_THE_IMPORT}
    return {name: value for name, value in own.items() if not isinstance(value, ModuleType)}


def slots_of_kind(kind: type) -> dict[str, MemberDescriptorType]:
    """The places that a class keeps for `__slots__`, its bases' too, by name.

    Source: the descriptors of slots (Python's data model, `__slots__`).
    """
    places: dict[str, MemberDescriptorType] = {}
    if kind in _SLOTLESS:
        return places
    for base in reversed(kind.__mro__):
        if "__slots__" in base.__dict__:
            places |= {name: at for name, at in base.__dict__.items() if isinstance(at, MemberDescriptorType)}
    if not places:
        _SLOTLESS.add(kind)
    return places


def slot_values(thing: object) -> dict[str, Any]:
    """The values in the `__slots__` of an instance, read past its `__getattr__`: none of its code runs."""
    found: dict[str, Any] = {}
    for name, place in slots_of_kind(type(thing)).items():
        with suppress(AttributeError):  # a slot that has no value yet
            found[name] = place.__get__(thing)
    return found


def dict_of(thing: object) -> Mapping[str, Any] | None:
    """The `__dict__` of an instance, None where it has none; none of its code runs, as it might for `getattr`."""
    reader = type(thing).__getattribute__
    # One written in C is called: that of a thread's local data alone knows where its dict is.
    if not isinstance(reader, WrapperDescriptorType):
        reader = object.__getattribute__
    try:
        own = reader(thing, "__dict__")
    except AttributeError:
        return None
    return own if isinstance(own, dict | MappingProxyType) else None


def own_attributes(thing: object) -> dict[str, Any]:
    """The attributes that an instance keeps itself, those in its `__slots__` too; none of its code runs."""
    return {**(dict_of(thing) or {}), **slot_values(thing)}


def describe_referrers(tensor: Tensor, own: object) -> tuple[str, ...]:
    """The kinds of objects that hold a tensor directly, for one that no name leads to; `own` is left out."""
    holders = [thing for thing in gc.get_referrers(tensor) if thing is not own and type(thing).__name__ != "frame"]
    return tuple(f"a {type(thing).__name__} of {len(thing)}" for thing in holders if hasattr(thing, "__len__"))


def _children(thing: Any) -> Iterator[tuple[str, Any]]:
    """What `thing` holds, each with the step that leads to it."""
    if isinstance(thing, Tensor):
        yield from _of_tensor(thing)
    elif isinstance(thing, Node):
        yield from _of_node(thing)
    elif isinstance(thing, nn.Module):
        yield from _of_module(thing)
    elif isinstance(thing, dict | MappingProxyType):
        # Not by the `items` of a class of the user's, which may run anything; other mappings are objects.
        pairs = dict.items(thing) if isinstance(thing, dict) else thing.items()
        for number, (key, value) in enumerate(list(pairs)):
            yield f"[{key!r}]" if isinstance(key, str | int) else f"[key {number}]", value
            if not isinstance(key, _LEAVES):
                yield f".key {number}", key
    elif isinstance(thing, np.ndarray):
        if thing.dtype.hasobject:
            yield from ((f"[{', '.join(map(str, place))}]", value) for place, value in np.ndenumerate(thing))
    elif isinstance(thing, _SEQUENCES):
        for number, value in enumerate(list(_base_of(thing).__iter__(thing))):
            yield f"[{number}]", value
    elif isinstance(thing, FunctionType):
        yield from _closure(thing)
    elif isinstance(thing, MethodType):
        yield ".__self__", thing.__self__
    elif isinstance(thing, functools.partial):
        yield from ((".args", thing.args), (".keywords", thing.keywords), (".func", thing.func))
    elif isinstance(thing, GeneratorType):
        if thing.gi_frame is not None:
            yield from ((f".{name}", value) for name, value in thing.gi_frame.f_locals.items())
    elif not isinstance(thing, ModuleType):
        yield from _of_object(thing)


def _base_of(thing: Any) -> Any:
    """The sequence class of Python's own that `thing` is, of which the user's may redefine the iteration."""
    return next(kind for kind in _SEQUENCES if isinstance(thing, kind))


def _of_tensor(tensor: Tensor) -> Iterator[tuple[str, Any]]:
    if tensor.is_leaf and tensor.grad is not None:
        yield ".grad", tensor.grad
    if tensor.grad_fn is not None:
        yield f".grad_fn({tensor.grad_fn.name()})", tensor.grad_fn
    yield from ((f".{name}", value) for name, value in vars(tensor).items())


def _of_node(node: Node) -> Iterator[tuple[str, Any]]:
    for name in dir(node):
        if name.startswith("_saved_") or name in ("variable", "saved_tensors"):
            # what was freed, or changed since, cannot be read: then it is not what the node keeps alive
            with suppress(RuntimeError, AttributeError):
                yield f".{name}", getattr(node, name)
    for following, _ in node.next_functions:
        if following is not None:
            yield f".{following.name()}", following


def _of_module(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for registry in (module._parameters, module._buffers, module._modules):
        yield from ((f".{name}", value) for name, value in registry.items() if value is not None)
    yield from _of_object(module)


def _of_object(thing: Any) -> Iterator[tuple[str, Any]]:
    for name, value in own_attributes(thing).items():
        if not (isinstance(thing, nn.Module) and name in ("_parameters", "_buffers", "_modules")):
            yield f".{name}", value
    kind = type(thing)
    home = kind.__module__.split(".")[0]
    if home in ("builtins", "functools", "itertools") and not isinstance(thing, type):
        # written in C: no attribute shows what they hold, but the collector knows
        yield from ((f".{kind.__name__} item {number}", value) for number, value in enumerate(gc.get_referents(thing)))
    elif home not in ("torch", "numpy"):
        for name, value in vars(kind).items():
            if isinstance(value, list | dict | set | deque | Tensor | FunctionType | _CACHE):
                yield f".{name}", value


def _closure(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        assert isinstance(cell, CellType)
        with suppress(ValueError):  # a name that has no value yet
            yield f".{name}", cell.cell_contents
    for number, value in enumerate(function.__defaults__ or ()):
        yield f".default {number}", value
    yield from ((f".{name}", value) for name, value in (function.__kwdefaults__ or {}).items())
