"""A copy of a model in which stand-ins take the place of tensors, on the devices where `to()` would bring them.

The copy is really moved, to meta, by its own `to()`; so what `to()` misses (plain attributes, modules in a list) stays
behind in the copy as it would on a GPU, and what a class moves in a `to()` of its own is moved. Not covered: tensors
in closures and globals (forward uses those themselves).
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pickle import PickleError
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lab.base import PlacementError, sequence_like
from lab.device import offloaded
from lab.device.holders import own_attributes
from lab.doctor.hidden import (
    all_modules,
    full_inventory,
    hidden_modules,
    is_helper,
    set_attribute,
    unregistered_parameters,
)

_REGISTRIES = frozenset(nn.Module().__dict__)


class CopyError(PlacementError):
    """A model of which no copy can be run in its place."""


COPY_ERRORS = (
    TypeError,
    RuntimeError,
    AssertionError,
    AttributeError,
    ValueError,
    LookupError,
    copy.Error,
    PickleError,
)
"""What `copy.deepcopy` and `to()` raise of a model that cannot be copied or moved."""

StandIn = Callable[[Tensor, torch.device], Tensor]
"""Makes the stand-in of a tensor on a device."""


@dataclass(frozen=True, kw_only=True)
class Copied:
    """The copy, with what is needed to name its parts."""

    model: nn.Module
    modules: dict[int, str]
    """Path of each module of the copy, hidden ones too, by identity."""
    tensors: dict[int, tuple[str, str]]
    """Name and kind of each stand-in, by identity."""
    hidden: Mapping[str, str]
    """Paths of modules that no registry leads to, and how each is hidden."""
    unregistered: frozenset[str]
    """Names of parameters in plain attributes."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Which device each part of a model is for."""

    default: torch.device
    by_prefix: Mapping[str, torch.device]

    def of(self, name: str) -> torch.device:
        """The device of the longest prefix that `name` has."""
        best = max((prefix for prefix in self.by_prefix if _has_prefix(name, prefix)), key=len, default=None)
        return self.default if best is None else self.by_prefix[best]

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All devices, each once."""
        return tuple(dict.fromkeys([self.default, *self.by_prefix.values()]))


def stand_in_copy(model: nn.Module, places: Places, make: StandIn) -> Copied:
    """Copy `model` with stand-ins made by `make`; nothing of the model changes and no data is copied here.

    Raises:
        CopyError: the model has meta or uninitialised tensors, is offloaded on purpose, or cannot be copied.
    """
    _refuse_hollow(model)
    held = full_inventory(model)
    memo = {id(item.tensor): _alias(item.tensor) for item in held}
    originals = {item.name: item.tensor for item in held}
    try:
        twin = copy.deepcopy(model, memo).to("meta")
    except COPY_ERRORS as error:
        got = f"{type(model).__name__}, where that fails ({error})"
        hint = "give it a __deepcopy__, or keep values out of its to()"
        raise CopyError("a model that copy.deepcopy can copy and to() can move", got, hint) from error
    made: dict[tuple[int, torch.device], Tensor] = {}

    def stand_in(name: str, tensor: Tensor) -> Tensor:
        original = originals.get(name, tensor)
        device = places.of(name) if tensor.is_meta else original.device
        key = (id(original), device)
        if key not in made:
            made[key] = make(original, device)
        return made[key]

    sources = dict(all_modules(model))
    named = list(all_modules(twin))
    for path, module in named:
        _fill(module, f"{path}." if path else "", stand_in)
        _correct_devices(module, vars(sources[path]), places.of(path))
    return Copied(
        model=twin,
        modules={id(module): path for path, module in named},
        # Reversed, so that of several names of one tensor the first stays.
        tensors={id(item.tensor): (item.name, item.kind) for item in reversed(full_inventory(twin))},
        hidden={inner.path: inner.kind for inner in hidden_modules(twin)},
        unregistered=unregistered_parameters(held),
    )


def map_tensors(data: Any, change: Callable[[str, Tensor], Tensor], path: str = "") -> Any:
    """`data` with each tensor changed, in new containers of the same types; `change` gets the path and the tensor."""
    if isinstance(data, Tensor):
        return change(path, data)
    if isinstance(data, MutableMapping):
        result = copy.copy(data)
        for key, value in data.items():
            result[key] = map_tensors(value, change, f"{path}[{key!r}]")
        return result
    if isinstance(data, list | tuple):
        items = [map_tensors(item, change, f"{path}[{number}]") for number, item in enumerate(data)]
        return items if isinstance(data, list) else sequence_like(data, items)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        names = [field.name for field in dataclasses.fields(data) if field.init and hasattr(data, field.name)]
        return dataclasses.replace(
            data, **{name: map_tensors(getattr(data, name), change, f"{path}.{name}") for name in names}
        )
    return data


def _exchange(data: Any, change: Callable[[str, Tensor], Tensor], path: str, owner: nn.Module, seen: set[int]) -> Any:
    """Like `map_tensors`, but containers and helper objects stay the same objects: several modules may share them."""
    if id(data) in seen or isinstance(data, nn.Module):
        return data
    if isinstance(data, MutableMapping):
        seen.add(id(data))
        for key, value in list(data.items()):
            data[key] = _exchange(value, change, f"{path}[{key!r}]", owner, seen)
        return data
    if isinstance(data, list):
        seen.add(id(data))
        for key, value in enumerate(data):
            data[key] = _exchange(value, change, f"{path}[{key!r}]", owner, seen)
        return data
    if isinstance(data, tuple):
        items = [_exchange(value, change, f"{path}[{key}]", owner, seen) for key, value in enumerate(data)]
        changed = any(new is not old for new, old in zip(items, data, strict=True))
        return sequence_like(data, items) if changed else data
    if is_helper(data, owner):
        seen.add(id(data))
        for name, value in own_attributes(data).items():
            changed = _exchange(value, change, f"{path}.{name}", owner, seen)
            if changed is not value:
                set_attribute(data, name, changed)
        return data
    return map_tensors(data, change, path)


def _refuse_hollow(model: nn.Module) -> None:
    signs = offloaded(model)
    if signs:
        hint = "load it without device_map to simulate its placement"
        raise CopyError("a model that is placed by to()", f"one offloaded on purpose ({signs[0]})", hint)
    hollow = [item.name for item in full_inventory(model) if item.tensor.is_meta or is_lazy(item.tensor)]
    if hollow:
        got = f"{len(hollow)} on meta or not initialised: {', '.join(hollow)}"
        raise CopyError("tensors that have data", got, "fill them first (lab.device.materialize)")


def _alias(tensor: Tensor) -> Tensor:
    bare = tensor.detach()
    return nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare


def _fill(module: nn.Module, dot: str, stand_in: Callable[[str, Tensor], Tensor]) -> None:
    for registry in (module._parameters, module._buffers):
        for name, tensor in list(registry.items()):
            if tensor is not None:
                # recurrent modules keep lists of their weights that only setattr renews
                setattr(module, name, stand_in(dot + name, tensor))
    own = {id(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())}
    seen: set[int] = set()
    for name, value in list(vars(module).items()):
        if name not in _REGISTRIES:
            changed = _exchange(
                value, lambda path, t: t if id(t) in own else stand_in(dot + path, t), name, module, seen
            )
            if changed is not value:
                vars(module)[name] = changed


def _correct_devices(module: nn.Module, source: dict[str, Any], device: torch.device) -> None:
    """A device that the module wrote down while it was moved is the one for which it stands in."""
    for name, value in list(vars(module).items()):
        if isinstance(value, torch.device | str) and str(value) == "meta" and source.get(name) != value:
            vars(module)[name] = str(device) if isinstance(value, str) else device


def _has_prefix(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith((f"{prefix}.", f"{prefix}["))
