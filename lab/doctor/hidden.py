"""What a model holds where `parameters()`, `to()` and `state_dict()` do not see it.

Covered: modules and tensors in lists, dicts, dataclasses and plain helper objects, to any depth; parameters in plain
attributes, also behind an operation that made a new tensor of them. A helper object is an instance of a class of the
user's own, or of the package that the module's class is from. Not covered: what a closure or a foreign object holds.
"""

import dataclasses
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.device import HeldTensor, inventory
from lab.device.holders import own_attributes
from lab.device.inventory import PLAIN_ATTRIBUTE
from lab.doctor.place import is_installed, is_users

IN_CONTAINER = "module hidden in a list or dict"
IN_OBJECT = "module hidden in a plain object"
UNREGISTERED = "unregistered parameter"

FIXES = {
    IN_CONTAINER: "use nn.ModuleList or nn.ModuleDict",
    IN_OBJECT: "derive the object's class from nn.Module, or assign its module to an attribute of the model too",
    UNREGISTERED: "self.name = nn.Parameter(value): to() and other operations before it, not after; several in "
    "nn.ParameterList",
}

_REGISTRIES = frozenset(nn.Module().__dict__)
_CHAIN = 4
"""Operations between a parameter and the attribute that was meant to be it, at most."""


@dataclass(frozen=True, kw_only=True)
class HiddenModule:
    """A module that no registry of the model leads to."""

    path: str
    module: nn.Module
    kind: str
    """Hidden in a list or dict, or in a plain object."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A module or tensor, and whether the way to it leads through a plain object."""

    path: str
    value: Any
    in_object: bool


def hidden_modules(model: nn.Module) -> tuple[HiddenModule, ...]:
    """Each module that only a container or an object in an attribute holds; modules below it are not listed.

    A module that is registered as well (a list kept beside a `ModuleList`) is not hidden, nor is one without tensors.
    """
    known = {id(module) for module in model.modules()}
    found: list[HiddenModule] = []
    queue = deque(model.named_modules())
    while queue:
        for here in _attributes(*queue.popleft()):
            inner = here.value
            if isinstance(inner, nn.Module) and id(inner) not in known and inventory(inner):
                kind = IN_OBJECT if here.in_object else IN_CONTAINER
                found.append(HiddenModule(path=here.path, module=inner, kind=kind))
                known |= {id(module) for module in inner.modules()}
                queue.extend(inner.named_modules(prefix=here.path))
    return tuple(found)


def all_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module of `model` with its path, those that are hidden and those below them too."""
    yield from model.named_modules()
    for hidden in hidden_modules(model):
        yield from hidden.module.named_modules(prefix=hidden.path)


def full_inventory(model: nn.Module) -> tuple[HeldTensor, ...]:
    """The tensors of `model`, those of its hidden modules, and those in its helper objects."""
    held = list(inventory(model))
    for hidden in hidden_modules(model):
        held += [
            HeldTensor(name=f"{hidden.path}.{item.name}", kind=item.kind, tensor=item.tensor)
            for item in inventory(hidden.module)
        ]
    names, tensors = {item.name for item in held}, {id(item.tensor) for item in held if item.kind != PLAIN_ATTRIBUTE}
    for path, module in all_modules(model):
        for here in _attributes(path, module):
            if isinstance(here.value, Tensor) and here.path not in names and id(here.value) not in tensors:
                names.add(here.path)
                held.append(HeldTensor(name=here.path, kind=PLAIN_ATTRIBUTE, tensor=here.value))
    return tuple(held)


def unregistered_parameters(held: Sequence[HeldTensor]) -> frozenset[str]:
    """Names of the plain attributes among `held` that are trainable parameters, or are made of one by an operation."""
    registered = {id(item.tensor) for item in held if item.kind != PLAIN_ATTRIBUTE}
    names = set()
    for item in held:
        if item.kind == PLAIN_ATTRIBUTE and item.tensor.requires_grad:
            origin = _origin(item.tensor)
            if isinstance(origin, nn.Parameter) and id(origin) not in registered:
                names.add(item.name)
    return frozenset(names)


def is_helper(value: object, owner: nn.Module) -> bool:
    """Whether `value` is a plain object whose attributes belong to what `owner` holds."""
    kind = type(value)
    if isinstance(value, nn.Module | Tensor | Optimizer | type | FunctionType | ModuleType | Enum | BaseException):
        return False
    if dataclasses.is_dataclass(value):
        return True
    package = kind.__module__.partition(".")[0]
    if package in ("torch", "lab", "builtins", "numpy") or package in sys.stdlib_module_names - {"__main__"}:
        return False
    if not own_attributes(value):
        return False
    home = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    own = is_users(home) and not is_installed(home)
    return own or package == type(owner).__module__.partition(".")[0]


def set_attribute(helper: object, name: str, value: object) -> None:
    """Give an attribute of a helper object a value, past what its class says about that."""
    object.__setattr__(helper, name, value)


def _attributes(prefix: str, module: nn.Module) -> Iterator[_Found]:
    """The modules and tensors below the plain attributes of `module`, each object once."""
    dot = f"{prefix}." if prefix else ""
    seen: dict[int, object] = {}
    for attribute, value in list(vars(module).items()):
        if attribute not in _REGISTRIES and not isinstance(value, nn.Module):
            yield from _below(value, dot + attribute, module, seen, in_object=False)


def _below(value: Any, path: str, owner: nn.Module, seen: dict[int, object], *, in_object: bool) -> Iterator[_Found]:
    if isinstance(value, nn.Module | Tensor):
        yield _Found(path=path, value=value, in_object=in_object)
        return
    items: list[tuple[str, object]]
    if value is None or isinstance(value, str | bytes | int | float) or id(value) in seen:
        return
    if isinstance(value, Mapping):
        items = [(f"[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, list | tuple | set | frozenset | deque):
        items = [(f"[{number}]", item) for number, item in enumerate(value)]
    elif is_helper(value, owner):
        items = [(f".{name}", item) for name, item in own_attributes(value).items()]
        in_object = True
    else:
        return
    seen[id(value)] = value  # kept, so that the id stays its own
    for step, item in items:
        yield from _below(item, path + step, owner, seen, in_object=in_object)


def _origin(tensor: Tensor) -> Tensor | None:
    """The leaf that `tensor` was made of by a few operations on it alone; None where there is more behind it."""
    node: Any = tensor.grad_fn
    if node is None:
        return tensor
    for _ in range(_CHAIN):
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1:
            return None
        node = parents[0]
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor):
            return variable
    return None
