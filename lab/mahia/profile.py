"""Bytes of each component of a model, measured one component at a time, on the CPU too.

Covered: components as the model calls them, each forward and backward alone, with the inputs that it gets inside the
model. Not covered: what the model computes between its components, and what is alive of other components meanwhile:
the components' peaks do not add up to the model's.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import Report, ReportTable
from lab.device import measure_memory, named_tensors
from lab.state import preserved_rng

WHOLE = "(whole model)"


@dataclass(frozen=True, kw_only=True)
class ComponentMemory:
    """One component."""

    name: str
    """Its name in the model."""
    kind: str
    """Its class."""
    calls: int
    """How often the model's forward calls it."""
    parameters: int
    """Bytes of its parameters; their gradients take as much again, an optimizer's state once or twice."""
    state: int
    """Bytes of its buffers."""
    kept: int
    """Bytes alive after its forward: the output, and what backward needs."""
    peak: int
    """Most bytes alive at once of what its forward and backward allocate, gradients included; of the forward alone
    where nothing requires a gradient."""


@dataclass(frozen=True, kw_only=True)
class MemoryProfile(Report):
    """What `memory_profile` measured."""

    device: str
    """The device."""
    instrument: str
    """Where the bytes come from."""
    components: tuple[ComponentMemory, ...]
    """In the model's order; the whole model last."""

    def to_dict(self) -> dict[str, Any]:
        rows = [asdict(component) for component in self.components]
        return {"device": self.device, "instrument": self.instrument, "components": rows}

    def tables(self) -> tuple[ReportTable, ...]:
        columns = ("component", "class", "calls", "parameters", "state", "kept for backward", "peak")
        rows = tuple(
            (c.name, c.kind, str(c.calls), *(f"{n:,}" for n in (c.parameters, c.state, c.kept, c.peak)))
            for c in self.components
        )
        return (ReportTable(title=f"Bytes on {self.device} by {self.instrument}", columns=columns, rows=rows),)


def memory_profile(model: nn.Module, *inputs: Any) -> MemoryProfile:
    """Measure each component's bytes in forward and backward, on a copy: the model and random streams stay as they are.

    Components are the model's children; of a list or dict of modules, its items.

    Args:
        model: called as `model(*inputs)`, in the mode that it is in.
        inputs: on the model's device.

    Raises:
        ConfigError: another profiler session runs.
    """
    tensors = [tensor for _, tensor in named_tensors((model, inputs))]
    device = tensors[0].device if tensors else torch.device("cpu")
    with preserved_rng():
        twin = copy.deepcopy(model)
        calls = _calls(twin, inputs)
        rows, instrument = [], ""
        for name, component in _components(twin):
            row, instrument = _measured(name, component, calls.get(name, []), device)
            rows.append(row)
        row, instrument = _measured(WHOLE, twin, [(inputs, {})], device)
    return MemoryProfile(device=str(device), instrument=instrument, components=(*rows, row))


def _components(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from ((f"{name}.{inner}", item) for inner, item in _components(child))
        else:
            yield name, child


Call = tuple[tuple[Any, ...], dict[str, Any]]


def _calls(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, list[Call]]:
    """The arguments of each component in one forward of the model, cut off from its graph."""
    found: dict[str, list[Call]] = {}

    def listen(name: str, component: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            cut = tuple(map(_cut, args)), {key: _cut(value) for key, value in kwargs.items()}
            found.setdefault(name, []).append(cut)

        return component.register_forward_pre_hook(hook, with_kwargs=True)

    handles = [listen(name, component) for name, component in _components(model)]
    try:
        model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _cut(value: Any) -> Any:
    if isinstance(value, Tensor):
        # A copy: components that work in place must not change what others were given.
        return value.detach().clone().requires_grad_(value.requires_grad)
    return value


def _measured(name: str, component: nn.Module, calls: list[Call], device: torch.device) -> tuple[ComponentMemory, str]:
    component.zero_grad()
    roots = (component, calls)
    with measure_memory(device, roots, blame=False) as forward:
        outputs = [component(*args, **kwargs) for args, kwargs in calls]
    kept = forward.after - forward.before
    del outputs
    with measure_memory(device, roots, blame=False) as both:
        _walk_back([component(*args, **kwargs) for args, kwargs in calls])
    component.zero_grad()
    row = ComponentMemory(
        name=name,
        kind=type(component).__name__,
        calls=len(calls),
        parameters=sum(parameter.nbytes for parameter in component.parameters()),
        state=sum(buffer.nbytes for buffer in component.buffers()),
        kept=kept,
        peak=both.allocated_peak,
    )
    return row, both.instrument


def _walk_back(outputs: list[Any]) -> None:
    """Backward from the sum of all that requires a gradient."""
    live = [tensor for _, tensor in named_tensors(outputs) if tensor.requires_grad]
    if live:
        torch.autograd.backward(live, [torch.ones_like(tensor) for tensor in live])
