"""Modules that a model holds in a list or dict, where `parameters()`, `to()` and `state_dict()` do not see them."""

from collections import deque
from collections.abc import Iterator, Mapping

from torch import nn

from lab.device import HeldTensor, inventory

_REGISTRIES = frozenset(nn.Module().__dict__)


def hidden_modules(model: nn.Module) -> tuple[tuple[str, nn.Module], ...]:
    """Each module that only a container in an attribute holds, with its path; modules below it are not listed.

    A module that is registered as well (a list kept beside a `ModuleList`) is not hidden, nor is one without tensors.
    """
    registered = {id(module) for module in model.modules()}
    found: dict[int, tuple[str, nn.Module]] = {}
    for prefix, module in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        for attribute, value in list(vars(module).items()):
            if attribute not in _REGISTRIES:
                for path, inner in _modules_in(value, dot + attribute, set()):
                    if id(inner) not in registered and inventory(inner):
                        found.setdefault(id(inner), (path, inner))
    return tuple(found.values())


def all_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module of `model` with its path, those that are hidden and those below them too."""
    yield from model.named_modules()
    for path, hidden in hidden_modules(model):
        yield from hidden.named_modules(prefix=path)


def full_inventory(model: nn.Module) -> tuple[HeldTensor, ...]:
    """The tensors of `model` and those of its hidden modules."""
    held = list(inventory(model))
    for path, module in hidden_modules(model):
        held += [
            HeldTensor(name=f"{path}.{item.name}", kind=item.kind, tensor=item.tensor) for item in inventory(module)
        ]
    return tuple(held)


def _modules_in(value: object, path: str, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    if id(value) in seen:
        return
    items: list[tuple[str, object]]
    if isinstance(value, Mapping):
        items = [(f"[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, list | tuple | set | frozenset | deque):
        items = [(f"[{number}]", item) for number, item in enumerate(value)]
    else:
        return
    seen.add(id(value))
    for step, item in items:
        if isinstance(item, nn.Module):
            yield path + step, item
        else:
            yield from _modules_in(item, path + step, seen)
