"""What outlives a call of the user's code: the containers that its modules, classes, functions and caches hold.

Covered: globals, class and function attributes, defaults, closures, `functools` caches, instances with `__dict__` or
`__slots__`, and containers in any of these, in the user's own modules and in installed ones that use torch. Not
covered: torch itself, what an extension written in C keeps, generators, and local variables that no function closes
over.
"""

import copyreg
import functools
import gc
import sys
from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping, MutableSequence, MutableSet
from dataclasses import dataclass
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from lab.doctor.place import is_installed, is_users

CACHE = type(functools.lru_cache(lambda: None))
"""The type of what `functools.lru_cache` and `functools.cache` give."""

_COLLECTIONS = (MutableMapping, MutableSequence, MutableSet)
_PLAIN = (str, bytes, int, float, complex, type(None), torch.dtype, torch.device, torch.Size)
_OF_STANDARD = frozenset(["weakref", "_weakrefset", "_thread", "_threading_local", "types", "collections"])


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """One object that was reached, and by which way."""

    value: Any
    step: str
    """The last step of its path: `.name` or `[key]`."""
    parent: "Reached | None"

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
    modules = [(module.__name__, module) for module in list(sys.modules.values()) if _is_searched(module)]
    stack = [Reached(value, name, None) for name, value in (*modules, *roots)]
    seen: set[int] = set()
    while stack:
        here = stack.pop()
        if isinstance(here.value, _PLAIN) or id(here.value) in seen:
            continue
        seen.add(id(here.value))
        yield here
        stack += [Reached(value, step, here) for step, value in _below(here.value)]


def _below(value: Any) -> Iterable[tuple[str, Any]]:
    """What `value` holds, with the step that leads there."""
    if isinstance(value, Tensor):
        return [(f".{name}", item) for name, item in list(vars(value).items())]
    if isinstance(value, dict):
        return [(_step(key), item) for key, item in list(value.items()) if key != "__builtins__"]
    if isinstance(value, list | tuple | deque):
        return [(f"[{number}]", item) for number, item in enumerate(list(value))]
    if isinstance(value, set | frozenset):
        return [("{}", item) for item in list(value)]
    if isinstance(value, ModuleType):
        return [("", vars(value))] if _is_searched(value) else ()
    if isinstance(value, type):
        if not _is_searched(sys.modules.get(value.__module__)):
            return ()
        bases = [("", base) for base in value.__bases__ if _is_searched(sys.modules.get(base.__module__))]
        return [*((f".{name}", item) for name, item in list(vars(value).items())), *bases]
    return _below_code(value) if _is_code(value) else _below_instance(value)


def _is_code(value: Any) -> bool:
    kinds = (FunctionType, CellType, MethodType, CACHE, staticmethod, classmethod, property)
    return isinstance(value, (*kinds, functools.partial, functools.cached_property))


def _below_code(value: Any) -> Iterable[tuple[str, Any]]:
    """What a function, a part or a wrapper of one holds."""
    if isinstance(value, CellType):
        return [("", content) for content in cell_content(value)]
    if isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        defaults = [("(defaults)", value.__defaults__), ("(defaults)", value.__kwdefaults__)]
        return [*((f"(closure).{name}", cell) for name, cell in cells), *defaults, ("", vars(value))]
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


def is_opened(value: Any) -> bool:
    """An instance whose attributes are searched."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == "torch":
        return isinstance(value, nn.Module)
    known = kind.__module__ in _OF_STANDARD or isinstance(value, _COLLECTIONS)
    return known or _is_searched(sys.modules.get(kind.__module__))


def _below_instance(value: Any) -> Iterator[tuple[str, Any]]:
    if not is_opened(value):
        return
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict):
        yield "", own
    # A class that was made in a function is no module's: only its instances lead to it.
    if _is_searched(sys.modules.get(type(value).__module__)):
        yield "", type(value)
    for name, item in slots_of(value).items():
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


def slots_of(value: Any) -> dict[str, Any]:
    """The values in the `__slots__` of an instance."""
    return {name: getattr(value, name) for name in slot_names(value) if hasattr(value, name)}


def slot_names(value: Any) -> list[str]:
    """The names in the `__slots__` of an instance's class."""
    names: list[str] = copyreg._slotnames(type(value))  # type: ignore[attr-defined]
    return names


def _step(key: Any) -> str:
    if isinstance(key, str):
        return f".{key}" if key.isidentifier() else f"[{key!r}]"
    return f"[{key!r}]" if isinstance(key, int | float | bool) else f"[{type(key).__name__}]"


def _is_searched(module: ModuleType | None) -> bool:
    """The module is the user's own, or an installed one that uses torch."""
    if not isinstance(module, ModuleType):
        return False
    name = module.__name__.partition(".")[0]
    path = getattr(module, "__file__", None) or ""
    if name == "torch" or name in sys.stdlib_module_names or not is_users(path):
        return False
    return not is_installed(path) or _uses_torch(module.__name__, len(vars(module)))


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
