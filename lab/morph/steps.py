"""The steps that a plan is made of: data that says what to do to which tensor, attribute or module.

`Resize` changes one dimension of one tensor. The dimension is given as its layout, the list of `Part`s that it is made
of one after the other, so that a plan stays small and can be read. `units` and `shares` of the plan say which old unit
each new one is a copy of, and which share of the outgoing weights it takes. `Pad` and `Regroup` move the entries of a
convolution's weight without a unit: each old entry goes to at most one place, and new places get `start`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import MorphError, derive_seed
from lab.morph.dims import Dim, WidthVar, factor_size, resolve


@dataclass(frozen=True)
class Part:
    """`outer` times, one after the other: the units (or `fixed` positions, where that is not 0), each `inner` long."""

    outer: int
    fixed: int
    inner: int

    def size(self, units: int) -> int:
        """Positions that this part spans when there are `units` units."""
        return self.outer * (self.fixed or units) * self.inner


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Dimension `dim` of `tensor` gets the plan's units; it is multiplied with their shares where it is `shared`."""

    tensor: str
    dim: int
    layout: tuple[Part, ...]
    shared: bool
    drawn: bool = False
    """Whether units beyond the old ones are drawn, with the old weights' deviation, in place of copies."""

    def index(self, units: Tensor, count: int) -> Tensor:
        """Old position (new size,) of each new position; `units` (new count,) of old units, `count` old units."""
        begin, pieces = 0, []
        for part in self.layout:
            size = part.size(count)
            block = torch.arange(begin, begin + size)
            if not part.fixed:
                block = block.reshape(part.outer, count, part.inner)[:, units].flatten()
            pieces.append(block)
            begin += size
        return torch.cat(pieces)

    def scale(self, shares: Tensor) -> Tensor:
        """Factor (new size,) of each new position."""
        pieces = []
        for part in self.layout:
            if part.fixed:
                pieces.append(torch.ones(part.size(0), dtype=shares.dtype))
            else:
                pieces.append(shares.repeat_interleave(part.inner).repeat(part.outer))
        return torch.cat(pieces)

    def drawn_like(self, values: Tensor, seed: int) -> Tensor:
        """Normal weights of the shape and the deviation of `values`; drawn on the CPU in float32."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "units", self.tensor))
        draws = torch.randn(values.shape, generator=generator, device="cpu", dtype=torch.float32)
        return draws.to(values.device, values.dtype) * values.std(correction=0)


@dataclass(frozen=True, kw_only=True)
class Pad:
    """Dimension `dim` of `tensor` gets positions at both ends, or loses as many where the number is negative."""

    tensor: str
    dim: int
    before: int
    after: int

    @property
    def drops(self) -> bool:
        """Whether there are entries that stay nowhere."""
        return min(self.before, self.after) < 0

    def moved(self, values: Tensor, start: float = 0.0) -> Tensor:
        """`values` in their new places, `start` in those that no old entry goes to."""
        sides = [0, 0] * (values.dim() - 1 - self.dim) + [self.before, self.after]
        return nn.functional.pad(values, sides, value=start)


@dataclass(frozen=True, kw_only=True)
class Regroup:
    """Rows and columns of `tensor` (rows, columns / groups, ...) are joined in `after` groups instead of `before`."""

    tensor: str
    before: int
    after: int

    @property
    def drops(self) -> bool:
        """Whether there are entries that stay nowhere: not where each new group is made of whole old ones."""
        return self.before % self.after != 0

    def moved(self, values: Tensor, start: float = 0.0) -> Tensor:
        """`values` in their new places, `start` in those that no old entry goes to."""
        rows, narrow = values.shape[:2]
        wide = narrow * self.before // self.after
        row = torch.arange(rows, device=values.device)[:, None]
        column = torch.arange(wide, device=values.device)[None]
        # Input channel of each new place, less the first input channel of the group that its row was in.
        place = row // (rows // self.after) * wide + column - row // (rows // self.before) * narrow
        inside = (place >= 0) & (place < narrow)
        shape = (rows, wide, *([1] * (values.dim() - 2)))
        index = place.clamp(0, narrow - 1).reshape(shape).expand(rows, wide, *values.shape[2:])
        return torch.where(inside.reshape(shape), values.gather(1, index), start)


@dataclass(frozen=True, kw_only=True)
class Append:
    """Dimension 0 of `tensor` gets one more position: a copy of `source`, or `fill` plus draws within `bound`."""

    tensor: str
    source: int | None = None
    """The position that is copied; None for draws."""
    share: float = 0.5
    """Of the gradient of `source`, what the copy takes from it."""
    fill: float = 0.0
    bound: float = 0.0
    seed: int = 0

    def drawn(self, like: Tensor) -> Tensor:
        """The new position, of the shape of one of `like`; drawn on the CPU in float32, whatever `like` is."""
        draws = torch.empty(like.shape[1:], device="cpu", dtype=torch.float32)
        draws.uniform_(-self.bound, self.bound, generator=torch.Generator().manual_seed(self.seed))
        return (draws + self.fill).to(like.device, like.dtype)

    def grown(self, values: Tensor) -> Tensor:
        """`values` with the new position."""
        added = self.drawn(values) if self.source is None else values[self.source]
        return torch.cat([values, added[None]])

    def moved(self, moments: Tensor, power: int, start: float = 0.0) -> Tensor:
        """Sums of gradients**power, those of `source` shared out; `start` for a position that was drawn."""
        if self.source is None:
            return torch.cat([moments, torch.full_like(moments[:1], start)])
        kept = moments.clone()
        kept[self.source] *= (1.0 - self.share) ** power
        return torch.cat([kept, moments[self.source, None] * self.share**power])


@dataclass(frozen=True, kw_only=True)
class SetAttribute:
    """A plain attribute of a module, such as `in_features`, gets a value."""

    module: str
    attribute: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Wrap:
    """The module at `path` becomes part of another one, built by `kind` from `arguments`."""

    path: str
    kind: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Transition:
    """An `EvolvableNetwork` begins to hand an edge over to a new primitive, in all cells of its type."""

    edge: tuple[str, int, int]
    """Cell type, target node, source node."""
    primitive: str
    channels: tuple[int, ...]
    """Of the maps that pass the edge in each of these cells."""


TensorStep = Resize | Pad | Regroup | Append
Step = TensorStep | SetAttribute | Wrap | Transition


def layout_of(dim: Dim, unit: WidthVar) -> tuple[Part, ...]:
    """The parts of a dimension, seen from `unit`.

    Raises:
        MorphError: the unit is there twice in one product.
    """
    parts = []
    for segment in resolve(dim):
        places = [position for position, factor in enumerate(segment) if factor is unit]
        if not places:
            size = 1
            for factor in segment:
                size *= factor_size(factor)
            parts.append(Part(1, size, 1))
            continue
        if len(places) > 1:
            raise MorphError(
                "each width at most once in a flattened dimension",
                "one that is there twice",
                "choose another layer",
            )
        outer = inner = 1
        for position, factor in enumerate(segment):
            if position < places[0]:
                outer *= factor_size(factor)
            elif position > places[0]:
                inner *= factor_size(factor)
        parts.append(Part(outer, 0, inner))
    return tuple(parts)


def step_to_dict(step: Step) -> dict[str, Any]:
    """JSON-ready."""
    if isinstance(step, Resize):
        layout = [[part.outer, part.fixed, part.inner] for part in step.layout]
        found = {"step": "resize", "tensor": step.tensor, "dim": step.dim, "layout": layout, "shared": step.shared}
        return {**found, "drawn": True} if step.drawn else found
    if isinstance(step, Pad | Regroup):
        return {"step": "pad" if isinstance(step, Pad) else "regroup", **asdict(step)}
    if isinstance(step, Append):
        return {"step": "append", **asdict(step)}
    if isinstance(step, SetAttribute):
        value = list(step.value) if isinstance(step.value, tuple) else step.value
        return {"step": "set", "module": step.module, "attribute": step.attribute, "value": value}
    if isinstance(step, Transition):
        numbers = {"edge": list(step.edge), "channels": list(step.channels)}
        return {"step": "transition", "primitive": step.primitive, **numbers}
    return {"step": "wrap", "path": step.path, "kind": step.kind, "arguments": step.arguments}


def step_from_dict(data: dict[str, Any]) -> Step:
    """The step that gave `data`.

    Raises:
        MorphError: data of another kind.
    """
    if data.get("step") == "resize":
        layout = tuple(Part(*part) for part in data["layout"])
        named = {name: data[name] for name in ("tensor", "dim", "shared")}
        return Resize(**named, layout=layout, drawn=data.get("drawn", False))
    if data.get("step") == "pad":
        return Pad(tensor=data["tensor"], dim=data["dim"], before=data["before"], after=data["after"])
    if data.get("step") == "regroup":
        return Regroup(tensor=data["tensor"], before=data["before"], after=data["after"])
    if data.get("step") == "append":
        return Append(**{name: value for name, value in data.items() if name != "step"})
    if data.get("step") == "set":
        value = tuple(data["value"]) if isinstance(data["value"], list) else data["value"]
        return SetAttribute(module=data["module"], attribute=data["attribute"], value=value)
    if data.get("step") == "wrap":
        return Wrap(path=data["path"], kind=data["kind"], arguments=data["arguments"])
    if data.get("step") == "transition":
        edge, channels = tuple(data["edge"]), tuple(data["channels"])
        return Transition(edge=edge, primitive=data["primitive"], channels=channels)
    expected = "a step: resize, pad, regroup, append, set, wrap or transition"
    raise MorphError(expected, repr(data.get("step")), "load a plan that MorphPlan.to_json wrote")
