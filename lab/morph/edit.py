"""Carry out the steps of a plan on a model and its optimizer.

Values, gradient and optimizer state of a weight are copied together with its units. With w
the incoming and v the outgoing weights of a unit and a_k the shares of its copies, w'_k = w and v'_k = a_k v, so that
the gradient of w'_k is a_k times that of w, and the gradient of v'_k is that of v. First moments follow the gradient,
second moments its square. An L2 penalty that the optimizer adds to the gradient (SGD and Adam with `weight_decay`) is
weighed with it, and `execute` gives how far off that is; decoupled decay (AdamW) is in no moment. Units that are drawn
have no past: their moments begin anew.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import MorphError
from lab.morph.modules import build_module, is_called, modules_around
from lab.morph.moments import STARTS, decay_gap, power_of
from lab.morph.plan import MorphPlan
from lab.morph.steps import Append, Pad, Regroup, Resize, SetAttribute, TensorStep, Transition, Wrap
from lab.nn import Cell, EvolvableNetwork, make_primitive
from lab.space import Edge, Space
from lab.state import preserved_rng

Map = tuple[Resize, Tensor, Tensor, Tensor] | Pad | Regroup | Append
"""What happens to one tensor: a resize with the old position and the factor of each new one and whether it is one of an
old unit, or another step."""


def execute(plan: MorphPlan, model: nn.Module, optimizer: Optimizer | None) -> float:
    """All steps of the plan, in order; the global random streams are not touched.

    Returns:
        The largest relative difference of a carried moment, as `lab.morph.moments.decay_gap` gives it.
    """
    changes: dict[str, list[TensorStep]] = {}
    for step in plan.steps:
        if isinstance(step, TensorStep):
            changes.setdefault(step.tensor, []).append(step)
        elif isinstance(step, SetAttribute):
            setattr(model.get_submodule(step.module), step.attribute, step.value)
        elif isinstance(step, Transition):
            _begin_transition(step, model, plan.seed, optimizer)
        else:
            _wrap(step, model, plan.seed, optimizer)
    return _replace(changes, plan, model, optimizer) if changes else 0.0


def _replace(
    changes: dict[str, list[TensorStep]], plan: MorphPlan, model: nn.Module, optimizer: Optimizer | None
) -> float:
    """New tensors in the place of the old ones, wherever the model and the optimizer hold these; see `execute`.

    An old object cannot take another shape: as long as anybody holds a result of an earlier step, the node that adds up
    its gradient lives, and expects the old one.
    """
    tensors: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    units, shares = torch.tensor(plan.units), torch.tensor(plan.shares, dtype=torch.float64)
    drawn = any(isinstance(step, Resize) and step.drawn for step in plan.steps)
    # Without drawn units every position has a past.
    past = (torch.arange(len(units)) < plan.old_units if drawn else torch.ones(len(units))).double()
    held, listed = _registries(model), _places(optimizer)
    gap = 0.0
    for name, steps in changes.items():
        # One after the other, so that old and new are there together of one tensor only.
        old = tensors.pop(name)
        maps: list[Map] = [
            (step, step.index(units, plan.old_units), step.scale(shares), step.scale(past) == 1)
            if isinstance(step, Resize)
            else step
            for step in steps
        ]
        values = _changed(old.detach(), maps, 1, reads=True, seed=plan.seed)
        values = _laid_out(values, old)
        made = nn.Parameter(values, old.requires_grad) if isinstance(old, nn.Parameter) else values
        # Python attributes that somebody put on the old object go along.
        vars(made).update(vars(old))
        if old.is_leaf and old.grad is not None:
            made.grad = _laid_out(_changed(old.grad, maps, 1, reads=False), old.grad)
        for registry, key in held[id(old)]:
            registry[key] = made
        for group, place in listed.get(id(old), ()):
            group["params"][place] = made
        if optimizer is not None and old in optimizer.state:
            state = optimizer.state.pop(old)
            options = listed[id(old)][0][0]
            for key, value in state.items():
                if isinstance(value, Tensor) and value.dim() and value.shape == old.shape:
                    start = float(options.get(STARTS.get(key, ""), 0.0))
                    moved = _changed(value, maps, power_of(key, state), reads=False, start=start)
                    state[key] = _laid_out(moved, value)
            optimizer.state[made] = state
            if not drawn and options.get("weight_decay") and all(_copies(change) for change in maps):
                # What decay makes of the new weights, less what the carried moments have of it.
                shift = values - _changed(old.detach(), maps, 1, reads=False)
                gap = max(gap, decay_gap(shift, state, options, optimizer))
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            # It keeps a list of its weights beside the registry, which follows what is assigned.
            for name, parameter in list(module._parameters.items()):
                setattr(module, name, parameter)
            module.flatten_parameters()
    return gap


def _registries(model: nn.Module) -> dict[int, list[tuple[dict[str, Any], str]]]:
    """Where each tensor is held, by its identity: the registry of a module, and the name in it."""
    found: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for module in model.modules():
        for registry in (module._parameters, module._buffers):
            for name, tensor in registry.items():
                found.setdefault(id(tensor), []).append((registry, name))
    return found


def _places(optimizer: Optimizer | None) -> dict[int, list[tuple[dict[str, Any], int]]]:
    """Where each parameter is listed, by its identity: the group, and the place in it."""
    found: dict[int, list[tuple[dict[str, Any], int]]] = {}
    for group in optimizer.param_groups if optimizer is not None else ():
        for place, held in enumerate(group["params"]):
            found.setdefault(id(held), []).append((group, place))
    return found


def _copies(change: Map) -> bool:
    """Whether every new position is a copy of an old one."""
    return isinstance(change, tuple) or (isinstance(change, Append) and change.source is not None)


def _laid_out(values: Tensor, old: Tensor) -> Tensor:
    """`values` in the memory format of `old`: channels last stays channels last."""
    for dims, memory_format in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if old.dim() == dims and not old.is_contiguous() and old.is_contiguous(memory_format=memory_format):
            return values.contiguous(memory_format=memory_format)
    return values


def _changed(values: Tensor, maps: list[Map], power: int, *, reads: bool, start: float = 0.0, seed: int = 0) -> Tensor:
    """`values` with the new units; times shares**power along the dimensions that read them, or along the others.

    New places that belong to no unit, and moments of drawn units, get `start`.
    """
    for change in maps:
        if isinstance(change, Append):
            values = change.grown(values) if reads else change.moved(values, power, start)
            continue
        if not isinstance(change, tuple):
            values = change.moved(values, start)
            continue
        step, index, scale, past = change
        values = values.index_select(step.dim, index.to(values.device))
        if not bool(past.all()) and (step.drawn or not reads):
            shape = [1] * values.dim()
            shape[step.dim] = -1
            fresh = step.drawn_like(values, seed) if reads else torch.full_like(values, start)
            values = torch.where(past.to(values.device).reshape(shape), values, fresh)
        if not reads:
            scale = torch.where(past, scale, 1.0)
        if step.shared is reads and power and not bool((scale == 1).all()):
            shape = [1] * values.dim()
            shape[step.dim] = -1
            # In place: what was selected is nobody's yet.
            values.mul_((scale**power).to(values.device, values.dtype).reshape(shape))
    return values


def _wrap(step: Wrap, model: nn.Module, seed: int, optimizer: Optimizer | None) -> None:
    parent_path, _, name = step.path.rpartition(".")
    parent = model.get_submodule(parent_path)
    body = model.get_submodule(step.path)
    neighbour = nearest_parameter(model, step.path)
    known, old = {id(module) for module in model.modules()}, {id(tensor) for tensor in model.parameters()}
    # Built on the CPU, so that the same seed gives the same weights whatever the device.
    with preserved_rng(seed), torch.device("cpu"):
        part = build_module(step.kind, body, parent, name, step.arguments)
    fresh = [parameter for parameter in part.parameters() if id(parameter) not in old]
    for module in part.modules():
        if id(module) not in known:
            _like(module, neighbour, old)
            module.training = body.training
    for parameter in fresh:
        alike = (p for p in model.parameters() if p.dim() == parameter.dim() and not p.is_contiguous())
        parameter.data = _laid_out(parameter.data, next(alike, parameter.data))
    parent._modules[name] = part
    if any(isinstance(module, nn.TransformerEncoderLayer) for module in modules_around(model, step.path)):
        part.register_forward_pre_hook(is_called)
    if optimizer is not None and fresh:
        _join(fresh, neighbour, optimizer)


class _FreshPrimitives:
    """New primitives with weights of their own; drawn on the CPU, so that a seed gives the same ones anywhere."""

    def __init__(
        self, step: Transition, space: Space, cells: list[Cell], neighbours: list[Tensor | None], seed: int
    ) -> None:
        self.step = step
        self.space = space
        self.cells = cells
        self.neighbours = neighbours
        self.seed = seed

    def extract(self, edge: Edge, number: int, name: str) -> nn.Module:
        cell = self.cells[number]
        stride = cell.strides[cell.edge_ids.index(self.space.edge_index(edge))]
        with preserved_rng(self.seed), torch.device("cpu"):
            made = make_primitive(name, self.step.channels[number], stride, self.space)
        for module in made.modules():
            _like(module, self.neighbours[number], set())
        return made


def _begin_transition(step: Transition, model: nn.Module, seed: int, optimizer: Optimizer | None) -> None:
    if not isinstance(model, EvolvableNetwork):
        raise MorphError("an EvolvableNetwork", type(model).__name__, "use the plan on a network of its kind")
    space, edge, old = model.genotype.space, Edge(*step.edge), {id(tensor) for tensor in model.parameters()}
    edge_id = space.edge_index(edge)
    cells = [(p, m) for p, m in model.named_modules() if isinstance(m, Cell) and edge_id in m.edge_ids]
    paths = [f"{path}.edges.{cell.edge_ids.index(edge_id)}" for path, cell in cells]
    neighbours = [nearest_parameter(model, path) for path in paths]
    source = _FreshPrimitives(step, space, [cell for _, cell in cells], neighbours, seed)
    model.mutate(model.genotype.replace(edge, step.primitive), source)
    for path, neighbour in zip(paths, neighbours, strict=True):
        fresh = [p for p in model.get_submodule(path).parameters() if id(p) not in old]
        if optimizer is not None and fresh:
            _join(fresh, neighbour, optimizer)


def _like(module: nn.Module, neighbour: Tensor | None, old: set[int]) -> None:
    """Device and floating dtype of the neighbour for the module's own new tensors."""
    if neighbour is None:
        return
    for registry in (module._parameters, module._buffers):
        for tensor in registry.values():
            if tensor is not None and id(tensor) not in old:
                dtype = neighbour.dtype if tensor.is_floating_point() else tensor.dtype
                tensor.data = tensor.data.to(neighbour.device, dtype)


def nearest_parameter(model: nn.Module, path: str) -> Tensor | None:
    """The first parameter inside the module at `path`, else the last before it, else the first after it."""
    inside = next(model.get_submodule(path).parameters(), None)
    if inside is not None:
        return inside
    order = [name for name, _ in model.named_modules()]
    place, before = order.index(path), None
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        if owner in order and order.index(owner) > place:
            return parameter if before is None else before
        before = parameter
    return before


def _join(fresh: Iterable[nn.Parameter], neighbour: Tensor | None, optimizer: Optimizer) -> None:
    groups = optimizer.param_groups
    group = next((g for g in groups if any(neighbour is p for p in g["params"])), groups[0])
    group["params"].extend(fresh)
