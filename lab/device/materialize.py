"""Give a model's meta tensors their data, and lose nothing of what it already has.

A meta tensor has a shape and no data. Filling one is only right from a source that has its values: a state dict, or a
real twin of the model. Emptying the whole model and running each module's `reset_parameters` is no such source: it
throws away trained weights, splits tied ones, leaves buffers as garbage and draws from other distributions than the
model's own initialisation.

Covered: mixed models in any order, ties, both kinds of buffers, plain tensor attributes, views of one storage,
parameters without a module of their own, optimizers that hold the parameters already. Not covered: tensors that are
not strided, tensors inside objects that are neither modules nor containers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import MaterializeError, Report, ReportTable
from lab.device.choose import require_device
from lab.device.inventory import inventory, offloaded
from lab.device.replace import move_tensors, replace_data
from lab.device.sources import FACTORY, KEPT, STATE, Slot, fill, find_sources, refuse_shapeless, slots_of


@dataclass(frozen=True, kw_only=True)
class MaterializeReport(Report):
    """Where each tensor's data comes from."""

    device: str
    """The device that the model is on now."""
    origins: dict[str, str]
    """By full name: kept (it had data), state or factory."""
    moved: tuple[str, ...]
    """Names of kept tensors that were on another device."""
    tied: tuple[tuple[str, ...], ...]
    """Groups of names that stand for one tensor."""
    dropped_state: tuple[str, ...]
    """Names of parameters whose optimizer state was dropped, as it was on meta and had no values."""

    def names(self, origin: str) -> tuple[str, ...]:
        """The names of one origin."""
        return tuple(name for name, came_from in self.origins.items() if came_from == origin)

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "origins": dict(self.origins),
            "moved": list(self.moved),
            "tied": [list(group) for group in self.tied],
            "dropped_state": list(self.dropped_state),
        }

    def tables(self) -> tuple[ReportTable, ...]:
        counts = ", ".join(f"{len(self.names(origin))} {origin}" for origin in (KEPT, STATE, FACTORY))
        notes = [f"tied: {' = '.join(group)}" for group in self.tied]
        if self.moved:
            notes.append(f"moved to {self.device}: {len(self.moved)} tensors")
        if self.dropped_state:
            notes.append(f"optimizer state on meta dropped: {', '.join(self.dropped_state)}")
        filled = tuple((name, origin) for name, origin in self.origins.items() if origin != KEPT)
        title = f"Model on {self.device}: {counts}"
        return (ReportTable(title=title, columns=("filled tensor", "from"), rows=filled, notes=tuple(notes)),)


def materialize(
    model: nn.Module,
    device: str | torch.device,
    *,
    state: Mapping[str, Tensor] | None = None,
    factory: Callable[[], nn.Module] | None = None,
    optimizer: Optimizer | None = None,
) -> MaterializeReport:
    """Fill the meta tensors of `model`, in place, and have all of it on `device`.

    Every tensor stays the object that it is, so ties, optimizers, hooks and weak references hold. Tensors that have
    data keep it bit for bit, whatever `state` says of them. The model is changed only when everything is found.

    Args:
        model: any module; plain tensor attributes count as its tensors.
        device: where the whole model shall be.
        state: values by full name, copied; a tied tensor is found under any of its names.
        factory: makes a real twin, which gives what `state` does not have. Called once, and only if needed.
        optimizer: the one that holds the parameters: its state follows them to `device`.

    Raises:
        MaterializeError: a meta tensor without a source (all are named), a source of another shape or kind, two sources
            that differ for one tied tensor, a model that is offloaded on purpose, an optimizer with meta tensors of
            another model. The model is then unchanged.
        PlacementError: the machine has no such device.
    """
    target = require_device(device)
    signs = offloaded(model)
    if signs:
        hint = "run it as it is, or load it without device_map"
        raise MaterializeError("a complete model", f"one that is offloaded on purpose ({'; '.join(signs)})", hint)
    slots = slots_of(inventory(model))
    hollow = [slot for slot in slots if slot.tensor.is_meta]
    _refuse_foreign(optimizer, hollow)
    refuse_shapeless(hollow)
    find_sources(hollow, state or {}, factory)
    filled = fill(hollow, target)

    # All that can be refused has been refused above: from here on model and optimizer change.
    dropped = _drop_meta_state(optimizer, hollow)
    others = [slot for slot in slots if not slot.tensor.is_meta and slot.tensor.device != target]
    if optimizer is not None:
        _move_state(optimizer, {id(slot.tensor) for slot in slots}, target)
    for slot, data in filled:
        replace_data(slot.tensor, data)
    move_tensors([slot.tensor for slot in others], target)
    if filled or others:
        _flatten_recurrent(model)
    return MaterializeReport(
        device=str(target),
        origins={name: slot.origin for slot in slots for name in slot.names},
        moved=tuple(name for slot in others for name in slot.names),
        tied=tuple(tuple(slot.names) for slot in slots if len(slot.names) > 1),
        dropped_state=dropped,
    )


def safe_to_device(
    model: nn.Module,
    device: str | torch.device,
    *,
    state: Mapping[str, Tensor] | None = None,
    factory: Callable[[], nn.Module] | None = None,
    optimizer: Optimizer | None = None,
) -> nn.Module:
    """`materialize`, and the model itself back: move it to `device` whether or not it has meta tensors.

    Args:
        model: any module; stays the same object.
        device: where the whole model shall be.
        state: as `materialize` takes it.
        factory: as `materialize` takes it.
        optimizer: as `materialize` takes it.

    Raises:
        MaterializeError, PlacementError: as `materialize` does.
    """
    materialize(model, device, state=state, factory=factory, optimizer=optimizer)
    return model


def _flatten_recurrent(model: nn.Module) -> None:
    """Lay a recurrent net's weights side by side, as its CUDA kernels want them; does nothing on the CPU."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def _refuse_foreign(optimizer: Optimizer | None, hollow: list[Slot]) -> None:
    own = {id(slot.tensor) for slot in hollow}
    foreign = [parameter for parameter in _optimized(optimizer) if parameter.is_meta and id(parameter) not in own]
    if foreign:
        shapes = ", ".join(str(tuple(parameter.shape)) for parameter in foreign)
        got = f"one with {len(foreign)} meta parameters that the model does not have (shapes {shapes})"
        raise MaterializeError("the optimizer of this model", got, "build the optimizer from this model's parameters")


def _optimized(optimizer: Optimizer | None) -> Iterator[Tensor]:
    for group in optimizer.param_groups if optimizer is not None else ():
        yield from group["params"]


def _drop_meta_state(optimizer: Optimizer | None, hollow: list[Slot]) -> tuple[str, ...]:
    """Drop the state of steps that were taken without data."""
    dropped = []
    for slot in hollow:
        state = optimizer.state.get(slot.tensor, {}) if optimizer is not None else {}
        if optimizer is not None and any(isinstance(value, Tensor) and value.is_meta for value in state.values()):
            del optimizer.state[slot.tensor]
            dropped.append(slot.names[0])
    return tuple(dropped)


def _move_state(optimizer: Optimizer, own: set[int], device: torch.device) -> None:
    """Move the state with the model's parameters; the count of steps stays where this kind of optimizer keeps it."""
    for group in optimizer.param_groups:
        counts_there = bool(group.get("capturable") or group.get("fused"))
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {}) if id(parameter) in own else {}
            for key, value in state.items():
                if isinstance(value, Tensor) and (key != "step" or counts_there):
                    state[key] = value.to(device)
