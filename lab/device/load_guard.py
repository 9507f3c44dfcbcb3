"""Load models one at a time, and undo what a load race leaves behind in the process.

Loaders of pretrained models replace functions of torch and of their own classes while they build a model, process-wide,
and put back what they found. Two loads that overlap put back each other's replacement, and it stays: later weights are
made on meta, ties are dropped, initialisers do nothing. `load_guard` lets one thread load at a time and looks at the
functions afterwards.

What is original is told by where a function comes from (its module's own namespace, its own name), not by a copy taken
earlier: a process that was poisoned before this module was imported is found and repaired too.

Not covered: loads outside the guard (they can poison the process at any time; the next guard repairs it).
"""

import ast
import gc
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, GeneratorType
from typing import Any

import torch

from lab.base import PlacementError

_MODULE_METHODS = ("register_parameter", "register_buffer")
_FACTORIES = ("linspace", "empty", "zeros", "ones", "full")
_PRETRAINED = "transformers.modeling_utils"
_PRETRAINED_METHODS = ("tie_weights", "init_weights")
_LOADERS = ("transformers.initialization", "transformers.modeling_utils", "accelerate.big_modeling")


@dataclass(frozen=True, kw_only=True)
class Poison:
    """A function that is not the one its name promises."""

    name: str
    """Where the foreign function stands, as one writes it: `nn.Module.register_parameter`."""
    found: str
    """What stands there: its name and module."""
    holder: Any
    """The module or class that holds it."""
    attribute: str
    """Its name in the holder."""

    def __str__(self) -> str:
        return f"{self.name} is {self.found}"


@dataclass(frozen=True, kw_only=True)
class _Watched:
    name: str
    holder: Any
    attribute: str
    home: str
    """Module that defines the original."""
    qualname: str
    """Name of the original in its home."""

    def current(self) -> Any:
        # Static: no descriptor and no module `__getattr__` of a replacement runs.
        return inspect.getattr_static(self.holder, self.attribute)

    def is_original(self, thing: Any) -> bool:
        # Made in C, without code or globals to compare: torch keeps the originals in this table.
        if self.home == "torch":
            return bool(thing is getattr(torch._C._VariableFunctions, self.attribute))
        return (
            isinstance(thing, FunctionType)
            and thing.__globals__ is vars(sys.modules[self.home])
            and thing.__code__.co_qualname == self.qualname
        )


def find_poison() -> tuple[Poison, ...]:
    """The watched functions that are not original now: of `nn.Module`, `nn.init`, torch, `PreTrainedModel`.

    While a model is being loaded its loader's replacements are found as well; see `loads_in_progress`.
    """
    return tuple(
        Poison(
            name=watched.name,
            found=_describe(watched.current()),
            holder=watched.holder,
            attribute=watched.attribute,
        )
        for watched in _watched()
        if not watched.is_original(watched.current())
    )


def repair_poison() -> tuple[Poison, ...]:
    """Put the originals back; the replacements that stood there are returned.

    Raises:
        PlacementError: an original could neither be found in the process nor be built again from its source.
    """
    found = {(poison.name): poison for poison in find_poison()}
    for watched in _watched():
        if watched.name in found:
            setattr(watched.holder, watched.attribute, _original(watched))
    return tuple(found.values())


def loads_in_progress() -> tuple[str, ...]:
    """The loaders' contexts that are open now in any thread, by name: their replacements are there on purpose."""
    names = []
    for thing in gc.get_objects():
        # decorators keep contexts that were made but never entered
        if type(thing) is GeneratorType and inspect.getgeneratorstate(thing) == inspect.GEN_SUSPENDED:
            assert thing.gi_frame is not None
            module = thing.gi_frame.f_globals.get("__name__", "")
            if module in _LOADERS:
                names.append(f"{module}.{thing.gi_code.co_qualname}")
    return tuple(names)


class _LoadLock:
    """The lock that one process has for loading; the same thread may take it again."""

    def __init__(self) -> None:
        self._reset()
        # A child of fork has only the thread that forked: a lock that another one held would never be released.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Hold the lock; gives whether this is the outermost hold."""
        with self._lock:
            self._depth += 1
            try:
                yield self._depth == 1
            finally:
                self._depth -= 1


# one process has one set of functions to protect, so it needs one lock
_LOCK = _LoadLock()


@contextmanager
def load_guard() -> Iterator[None]:
    """Load a model inside: one thread at a time, and the process is left as it was.

    At entry and at the end the watched functions are looked at; foreign ones are replaced by the originals with a
    `RuntimeWarning` that names them. A default dtype that the load left behind is put back in the same way. A guard
    inside a guard of the same thread does nothing more.
    """
    with _LOCK.hold() as outermost:
        if not outermost:
            yield
            return
        _clean("before the load")
        dtype = torch.get_default_dtype()
        try:
            yield
        finally:
            if torch.get_default_dtype() != dtype:
                text = f"after the load the default dtype was {torch.get_default_dtype()}: put back to {dtype}"
                torch.set_default_dtype(dtype)
                warnings.warn(text, RuntimeWarning, stacklevel=3)
            _clean("after the load")


def _clean(when: str) -> None:
    if not find_poison():
        return
    running = loads_in_progress()
    if running:
        text = f"{when} another load was running outside load_guard ({', '.join(running)}): wrap it too"
        warnings.warn(text, RuntimeWarning, stacklevel=4)
        return
    repaired = repair_poison()
    text = f"{when} the process was poisoned and has been repaired: " + "; ".join(map(str, repaired))
    warnings.warn(text, RuntimeWarning, stacklevel=4)


def _watched() -> Iterator[_Watched]:
    for name in _MODULE_METHODS:
        yield _Watched(
            name=f"nn.Module.{name}",
            holder=torch.nn.Module,
            attribute=name,
            home="torch.nn.modules.module",
            qualname=f"Module.{name}",
        )
    initialisers = [name for name in dir(torch.nn.init) if name.endswith("_") and not name.startswith("_")]
    # layers import some initialisers by name, so that a replacement stands there as well
    layers = [name for name in sys.modules if name.startswith("torch.nn.modules.")]
    for home in ("torch.nn.init", *layers):
        for name in initialisers:
            if hasattr(sys.modules[home], name):
                yield _Watched(
                    name=f"{home.removeprefix('torch.')}.{name}",
                    holder=sys.modules[home],
                    attribute=name,
                    home="torch.nn.init",
                    qualname=name,
                )
    for name in _FACTORIES:
        yield _Watched(name=f"torch.{name}", holder=torch, attribute=name, home="torch", qualname=name)
    pretrained = getattr(sys.modules.get(_PRETRAINED), "PreTrainedModel", None)
    if pretrained is not None:
        for name in _PRETRAINED_METHODS:
            yield _Watched(
                name=f"PreTrainedModel.{name}",
                holder=pretrained,
                attribute=name,
                home=_PRETRAINED,
                qualname=f"PreTrainedModel.{name}",
            )


def _describe(thing: Any) -> str:
    name = getattr(thing, "__qualname__", type(thing).__name__)
    return f"{name} of {getattr(thing, '__module__', None) or 'an unknown module'}"


def _original(watched: _Watched) -> Any:
    if watched.home == "torch":
        return getattr(torch._C._VariableFunctions, watched.attribute)
    for thing in gc.get_objects():
        if type(thing) is FunctionType and watched.is_original(thing):
            return thing
    return _rebuild(watched)


def _rebuild(watched: _Watched) -> Any:
    """The original compiled again from its module's source: the last copy in the process may be gone."""
    module = sys.modules[watched.home]
    try:
        nodes: list[ast.stmt] = ast.parse(inspect.getsource(module)).body
        *classes, name = watched.qualname.split(".")
        for owner in classes:
            nodes = next(node.body for node in nodes if isinstance(node, ast.ClassDef) and node.name == owner)
        body: ast.stmt = next(node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == name)
        # Inside shells of its classes, so that its qualified name is that of the original.
        for owner in reversed(classes):
            shell = ast.parse(f"class {owner}: pass").body[0]
            assert isinstance(shell, ast.ClassDef)
            shell.body = [body]
            body = shell
        namespace: dict[str, Any] = {}
        tree = ast.fix_missing_locations(ast.Module(body=[body], type_ignores=[]))
        # With the globals of its module, by which `is_original` tells an original; without the compiler flags of this
        # one.
        exec(compile(tree, str(module.__file__), "exec", dont_inherit=True), vars(module), namespace)
    except (OSError, TypeError, StopIteration, NameError) as error:
        got = f"{watched.name} replaced, and its source not to be had ({error})"
        raise PlacementError("the original function", got, "start the process again") from error
    result: Any = namespace[watched.qualname.split(".")[0]]
    for step in watched.qualname.split(".")[1:]:
        result = vars(result)[step]
    return result
