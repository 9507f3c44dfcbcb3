"""What outlives a call of the user's code: the containers that its modules, classes, functions and caches hold.

Covered: globals, class and function attributes, defaults, closures, `functools` caches, instances with `__dict__` or
`__slots__`, and containers in any of these, in the user's own modules and in installed ones that use torch. Not
covered: torch itself, parts of the lab that run in no forward, what an extension written in C keeps, generators, and
local variables that no function closes over.
"""

import dataclasses
import functools
import gc
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping, MutableSequence, MutableSet, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import (
    CellType,
    CodeType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any

import torch
from torch import Tensor, nn

from lab.device.holders import dict_of, slot_values
from lab.doctor.place import is_installed, is_users

CACHE = type(functools.lru_cache(lambda: None))
"""The type of what `functools.lru_cache` and `functools.cache` give."""

_COLLECTIONS = (MutableMapping, MutableSequence, MutableSet)
_PLAIN = (str, bytes, int, float, complex, type(None), torch.dtype, torch.device, torch.Size)
_SKIPPED = frozenset(
    [
        *(*_PLAIN, bool, type(Ellipsis), type(NotImplemented), ModuleSpec, SourceFileLoader, dataclasses.Field),
        *(GenericAlias, UnionType, GetSetDescriptorType, MemberDescriptorType, WrapperDescriptorType, CodeType),
    ]
)
"""Instances of exactly these hold nothing that a run of the user's code could leave something in."""
_CODE = (
    *(FunctionType, CellType, MethodType, CACHE, staticmethod, classmethod, property),
    *(functools.partial, functools.cached_property),
)
_OF_NETWORKS = ("lab.nn", "lab.mahia", "lab.morph", "lab.text")
"""The lab's modules that run inside a forward; what the others hold is the instruments' own."""
_OF_STANDARD = frozenset(["weakref", "_weakrefset", "_thread", "_threading_local", "types", "collections"])


class Reached:
    """One object that was reached, and by which way.

    Args:
        value: the object.
        step: the last step of its path: `.name` or `[key]`.
        parent: what holds it; None for a root.
    """

    # No dataclass: a frozen one takes three times as long to make, and a search makes tens of thousands.
    __slots__ = ("parent", "step", "value")

    def __init__(self, value: Any, step: str, parent: "Reached | None") -> None:
        self.value = value
        self.step = step
        self.parent = parent

    @property
    def path(self) -> str:
        """How the user would write it."""
        steps: list[str] = []
        here: Reached | None = self
        while here is not None:
            steps.append(here.step)
            here = here.parent
        return "".join(reversed(steps))


def reach(roots: Iterable[tuple[str, Any]] = ()) -> Iterator[Reached]:
    """Every object that the user's modules and `roots` (name and object) lead to, each once."""
    search = _Search()
    modules = [(module.__name__, module) for module in list(sys.modules.values()) if search.opens(module)]
    stack = [Reached(value, name, None) for name, value in (*modules, *roots) if not isinstance(value, _PLAIN)]
    seen: set[int] = set()
    while stack:
        here = stack.pop()
        if id(here.value) in seen:
            continue
        seen.add(id(here.value))
        yield here
        stack += [Reached(value, step, here) for step, value in search.below(here.value) if type(value) not in _SKIPPED]


class _Search:
    """One pass, with what it has found out about modules and classes on its way."""

    def __init__(self) -> None:
        self._opened: dict[Any, bool] = {}
        self._kinds: dict[type, Callable[[Any], Iterable[tuple[str, Any]]]] = {}

    def opens(self, module: Any) -> bool:
        """What the module holds is searched."""
        found = self._opened.get(module)
        if found is None:
            found = self._opened[module] = _is_searched(module)
        return found

    def below(self, value: Any) -> Iterable[tuple[str, Any]]:
        """What `value` holds, with the step that leads there."""
        kind = type(value)
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = self._way_below(kind)
        return found(value)

    def _way_below(self, kind: type) -> Callable[[Any], Iterable[tuple[str, Any]]]:
        for kinds, below in _BELOW:
            if issubclass(kind, kinds):
                return below
        if issubclass(kind, ModuleType):
            return lambda value: [("", vars(value))] if self.opens(value) else ()
        if issubclass(kind, type):
            return self._below_class
        if issubclass(kind, _PLAIN) or not is_opened(kind):
            return _nothing
        # A class that was made in a function is no module's: only its instances lead to it.
        of_class = [("", kind)] if self.opens(sys.modules.get(kind.__module__)) else []
        return lambda value: [*_below_instance(value), *of_class]

    def _below_class(self, value: type) -> Iterable[tuple[str, Any]]:
        if not self.opens(sys.modules.get(value.__module__)):
            return ()
        bases = [("", base) for base in value.__bases__ if self.opens(sys.modules.get(base.__module__))]
        return [*((f".{name}", item) for name, item in list(vars(value).items())), *bases]


def _nothing(value: Any) -> Iterable[tuple[str, Any]]:
    return ()


def _below_tensor(value: Tensor) -> Iterable[tuple[str, Any]]:
    return [(f".{name}", item) for name, item in list(vars(value).items())]


def _below_dict(value: dict[Any, Any]) -> Iterable[tuple[str, Any]]:
    # The step of what is skipped is not worked out.
    items = [(key, item) for key, item in list(value.items()) if type(item) not in _SKIPPED and key != "__builtins__"]
    return [(_step(key), item) for key, item in items]


def _below_sequence(value: Sequence[Any]) -> Iterable[tuple[str, Any]]:
    return [(f"[{number}]", item) for number, item in enumerate(list(value)) if type(item) not in _SKIPPED]


def _below_set(value: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return [("{}", item) for item in list(value)]


def _below_code(value: Any) -> Iterable[tuple[str, Any]]:
    """What a function, a part or a wrapper of one holds."""
    if isinstance(value, CellType):
        return [("", content) for content in cell_content(value)]
    if isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        defaults = [("(defaults)", value.__defaults__), ("(defaults)", value.__kwdefaults__)]
        # One without attributes, as almost all are, has an empty dict: `untouched` looks at that one itself.
        own = [("", value.__dict__)] if value.__dict__ else []
        return [*((f"(closure).{name}", cell) for name, cell in cells), *defaults, *own]
    if isinstance(value, CACHE):
        return [("(cache)", item) for item in _cached(value)]
    if isinstance(value, functools.partial):
        return [("", value.func), ("(arguments)", value.args), ("(arguments)", value.keywords)]
    if isinstance(value, property):
        return [("", value.fget), ("", value.fset)]
    if isinstance(value, functools.cached_property):
        return [("", value.func)]
    bound = [("", value.__self__)] if isinstance(value, MethodType) else []
    return [*bound, ("", value.__func__)]


def is_opened(kind: type) -> bool:
    """Attributes of the class's instances are searched."""
    if kind.__module__.partition(".")[0] == "torch":
        return issubclass(kind, nn.Module)
    known = kind.__module__ in _OF_STANDARD or issubclass(kind, _COLLECTIONS)
    return known or _is_searched(sys.modules.get(kind.__module__))


def _below_instance(value: Any) -> Iterator[tuple[str, Any]]:
    own = dict_of(value)
    if own is not None:
        yield "", own
    for name, item in slot_values(value).items():
        yield f".{name}", item


def _cached(cache: Any) -> list[Any]:
    """What a cache holds, with its function; of one without a limit the very dict in which it looks."""
    held = [item for item in gc.get_referents(cache) if not isinstance(item, type)]
    if cache.cache_parameters()["maxsize"] is None:
        return held
    # the dict of one with a limit holds links that must stay as they are; their keys and values are held too
    return [item for item in held if not isinstance(item, dict) or not _has_links(item)]


def _has_links(value: dict[Any, Any]) -> bool:
    return type(next(iter(value.values()), None)).__name__ in ("_lru_list_elem", "NoneType")


def cell_content(cell: CellType) -> tuple[Any, ...]:
    """What a variable of a closure holds: one object, or none."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _step(key: Any) -> str:
    if isinstance(key, str):
        return f".{key}" if key.isidentifier() else f"[{key!r}]"
    return f"[{key!r}]" if isinstance(key, int | float | bool) else f"[{type(key).__name__}]"


def _is_searched(module: ModuleType | None) -> bool:
    """The module is the user's own, or an installed one that uses torch."""
    if not isinstance(module, ModuleType):
        return False
    path = getattr(module, "__file__", None) or ""
    found = _searched_by_name(module.__name__, path if isinstance(path, str) else "")
    return _uses_torch(module.__name__, len(vars(module))) if found is None else found


@functools.lru_cache(maxsize=65536)
def _searched_by_name(name: str, path: str) -> bool | None:
    """What name and file say of a module; None where it counts whether it uses torch. Each search asks it of all."""
    package = name.partition(".")[0]
    if package == "torch" or package in sys.stdlib_module_names or not is_users(path):
        return False
    if package == "lab":
        return name.startswith(_OF_NETWORKS)
    return None if is_installed(path) else True


@functools.lru_cache(maxsize=65536)
def _uses_torch(name: str, _size: int) -> bool:
    """Some global of the installed module `name` comes from torch; asked again when it has more of them."""
    for value in list(vars(sys.modules[name]).values()) if name in sys.modules else ():
        found = value.__name__ if isinstance(value, ModuleType) else type(value).__module__
        if isinstance(found, str) and found.partition(".")[0] == "torch":
            return True
        if isinstance(value, type) and issubclass(value, nn.Module):
            return True
    return False


_BELOW: tuple[tuple[Any, Callable[[Any], Iterable[tuple[str, Any]]]], ...] = (
    (Tensor, _below_tensor),
    (dict, _below_dict),
    ((list, tuple, deque), _below_sequence),
    ((set, frozenset), _below_set),
    (_CODE, _below_code),
)
"""What instances of a class hold, by the first row that fits it."""
