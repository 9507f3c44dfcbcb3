"""Name every tensor that a model, an optimizer or a container holds.

Covered: parameters, buffers (not persistent ones too), plain tensor attributes of modules, optimizer state, tensors in
lists, tuples, sets, dicts and dataclasses, to any depth. Not covered: tensors that only a graph, a hook or an object of
another kind holds.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

_REGISTRIES = frozenset(nn.Module().__dict__)
# Most attributes of modules are of these types; asking an abstract class about each takes most of a walk's time.
_SCALARS = frozenset({int, float, bool, str, bytes, complex, type(None)})


def named_tensors(root: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Each tensor under `root` with the path that leads to it; a tensor that is held twice comes twice.

    Args:
        root: a model, an optimizer, a tensor or a container of such.
        name: of the root itself; every path begins with it.
    """
    found: list[tuple[str, Tensor]] = []
    _walk(root, name, {}, found)
    return iter(found)


def plain_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors among the module's own plain attributes, those in containers too, with their path in the module.

    Submodules are not entered. A registered parameter or buffer is plain as well where an attribute holds it again.

    Args:
        module: one module, without those below it; `model.modules()` gives each in turn.
    """
    for attribute, value in list(vars(module).items()):
        if attribute not in _REGISTRIES:
            yield from _walk_plain(value, attribute, {})


def _walk_plain(value: object, path: str, seen: dict[int, object]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, nn.Module | Optimizer):
        return
    if isinstance(value, Tensor):
        yield path, value
        return
    for step, item in _items(value, seen):
        yield from _walk_plain(item, path + step, seen)


def _walk(value: object, path: str, seen: dict[int, object], found: list[tuple[str, Tensor]]) -> None:
    if type(value) in _SCALARS:
        return
    if isinstance(value, Tensor):
        found.append((path, value))
    elif isinstance(value, nn.Module):
        if id(value) not in seen:
            seen[id(value)] = value  # kept, so that the id stays its own
            _walk_module(value, path, seen, found)
    elif isinstance(value, Optimizer):
        for number, group in enumerate(value.param_groups):
            _walk(group, f"{path}.param_groups[{number}]".lstrip("."), seen, found)
        for number, state in enumerate(value.state.values()):
            _walk(state, f"{path}.state[{number}]".lstrip("."), seen, found)
    else:
        for step, item in _items(value, seen):
            if type(item) not in _SCALARS:
                _walk(item, (path + step).lstrip("."), seen, found)


def _walk_module(module: nn.Module, path: str, seen: dict[int, object], found: list[tuple[str, Tensor]]) -> None:
    prefix = f"{path}." if path else ""
    for registry in (module._parameters, module._buffers):
        for name, tensor in registry.items():
            if tensor is not None:
                found.append((prefix + name, tensor))
    for attribute, value in vars(module).items():
        if attribute not in _REGISTRIES and type(value) not in _SCALARS and not _is_numbers(value):
            _walk(value, prefix + attribute, seen, found)
    for name, child in module._modules.items():
        _walk(child, prefix + name, seen, found)


def _is_numbers(value: object) -> bool:
    """Whether it is a tuple of scalars, as the stride of a convolution is."""
    return type(value) is tuple and _SCALARS.issuperset(map(type, value))


def _items(value: object, seen: dict[int, object]) -> list[tuple[str, Any]]:
    """The items of a container that was not seen yet, each with the step that leads to it; none of other objects."""
    if isinstance(value, str | bytes | bytearray) or id(value) in seen:
        return []
    found: list[tuple[str, Any]]
    if isinstance(value, Mapping):
        found = [(f"[{key!r}]" if isinstance(key, str | int) else "[...]", item) for key, item in value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        found = [(f"[{number}]", item) for number, item in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        found = [(f".{name}", getattr(value, name)) for name in names]
    else:
        return []
    seen[id(value)] = value
    return found
