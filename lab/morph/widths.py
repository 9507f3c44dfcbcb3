"""`Widen` and `Prune`: another number of units in a layer, and in everything that is coupled to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from lab.base import MorphError
from lab.morph.attributes import count_steps, size_steps
from lab.morph.dims import WidthVar, dim_size, resolve, segment_size, width_vars
from lab.morph.morph import Draft, Morph
from lab.morph.plan import MorphPlan
from lab.morph.steps import Resize, Step, layout_of
from lab.morph.trace import Example, Traces, Widths, traces_of

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
UNITS = ("copies", "drawn")
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class IllegalWidth(MorphError):
    """A width that no whole number of units makes, where another one is possible."""


@dataclass(frozen=True)
class Width:
    """The width of one layer: its unit, and how many positions of the layer one unit is."""

    unit: WidthVar
    step: int
    total: int
    rest: int = 0
    """Positions of the layer that belong to none of the units."""


def find_module(model: nn.Module, path: str) -> nn.Module:
    """The module at `path`.

    Raises:
        MorphError: there is none.
    """
    found = dict(model.named_modules()).get(path)
    if found is None or not path:
        near = ", ".join(list(dict(model.named_modules()))[1:6])
        raise MorphError("a name from named_modules()", repr(path), f"the first are {near}")
    return found


def _width_of(model: nn.Module, layer: str, widths: Widths) -> tuple[str, int, nn.Module]:
    module = find_module(model, layer)
    weight = getattr(module, "weight", None)
    if parametrize.is_parametrized(module, "weight"):
        got = f"a parametrization on {layer}"
        raise MorphError(
            "a weight that is a parameter", got, "call torch.nn.utils.parametrize.remove_parametrizations first"
        )
    if isinstance(module, nn.RNNBase):
        return f"{layer}.weight_hh_l0", 1, module
    if isinstance(module, nn.RNNCellBase):
        return f"{layer}.weight_hh", 1, module
    hooks = [hook for hook in module._forward_pre_hooks.values() if getattr(hook, "name", "") == "weight"]
    if hooks:
        # torch's older weight_norm and spectral_norm: the weight is computed anew at each forward.
        got = f"one that {type(hooks[0]).__name__} computes on {layer}"
        raise MorphError("a weight that is a parameter", got, "take it off first, for instance by remove_weight_norm")
    if not isinstance(weight, nn.Parameter) or weight.dim() < 2:
        raise MorphError(
            "a linear or a convolution layer", f"{type(module).__name__} {layer}", "name a layer of that kind"
        )
    name = next((name for name, parameter in model.named_parameters() if parameter is weight), "")
    if isinstance(module, (nn.Linear, *_CONVS)):
        return name, 0, module
    if isinstance(module, (nn.Embedding, *_TRANSPOSED)):
        return name, 1, module
    # A layer that this project does not know: its outputs are the dimension that no product sums over.
    made = [number for number in range(weight.dim()) if (name, number) not in widths.roles.read]
    if len(made) != 1:
        raise MorphError(
            "a linear or a convolution layer", f"{type(module).__name__} {layer}", "name a layer of that kind"
        )
    return name, made[0], module


def find_width(model: nn.Module, layer: str, widths: Widths, *, copies: bool) -> Width:
    """The width that `layer` makes.

    Raises:
        MorphError: it cannot change; where `copies`, also: copies of its units would change the function.
    """
    name, number, _ = _width_of(model, layer, widths)
    dim = resolve(widths.dims[name][number])
    found = width_vars(dim)
    reasons = [var.fixed or (var.inexact if copies else "") for var in found]
    if not found:
        raise MorphError(f"a width of {layer} that can change", "one unit", "choose another layer")
    free = [var for var, reason in zip(found, reasons, strict=True) if not reason]
    if not free:
        raise MorphError(f"a width of {layer} that can change", reasons[0], "choose another layer")
    # Whole heads before the units of one; the largest part where the outputs are used in parts.
    spans = {var: sum(segment_size(segment) for segment in dim if var in segment) for var in free}
    unit = max(enumerate(free), key=lambda item: (not item[1].inexact, spans[item[1]], item[0]))[1]
    total = dim_size(dim)
    return Width(unit=unit, step=spans[unit] // unit.size, total=total, rest=total - spans[unit])


def resize_steps(
    model: nn.Module, widths: Widths, unit: WidthVar, count: int, *, copies: bool, drawn: bool = False
) -> tuple[Step, ...]:
    """The steps that give `unit` `count` units everywhere; where `drawn`, weights that make new ones are drawn.

    Raises:
        MorphError: one tensor both makes the width and reads it, and units are copied.
    """
    steps: list[Step] = []
    shapes: dict[str, tuple[int, ...]] = {}
    held = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    for name, dims in widths.dims.items():
        shape = [dim_size(dim) for dim in dims]
        for number, dim in enumerate(dims):
            if unit not in width_vars(dim):
                continue
            read = (name, number) in widths.roles.read
            if read and copies and (name, number) in widths.roles.made:
                raise MorphError("each weight to make a width or to read it", f"{name}, which does both", "untie it")
            layout = layout_of(dim, unit)
            if name in held:
                fresh = drawn and not read and len(dims) > 1
                steps.append(Resize(tensor=name, dim=number, layout=layout, shared=read, drawn=fresh))
            shape[number] = sum(part.size(count) for part in layout)
            shapes[name] = tuple(shape)
    return (*steps, *count_steps(model, widths, unit, count), *size_steps(model, shapes))


@dataclass(frozen=True)
class _Resizing(Morph):
    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        return self.draft_with(traces_of(model), model, example, seed)

    def plan(self, model: nn.Module, example: Example, *, seed: int = 0, traces: Traces | None = None) -> MorphPlan:
        """See `Morph.plan`; where that fails, widths that a reshape may join are tried as one.

        Raises:
            MorphError: all fail; the first reason, unless a later one says that another width is possible.
        """
        first: MorphError | None = None
        ties: Traces | None = traces or traces_of(model)
        while ties is not None:
            try:
                return super().plan(model, example, seed=seed, traces=ties)
            except IllegalWidth:
                raise
            except MorphError as error:
                first = first or error
                ties = ties.with_ties
        assert first is not None
        raise first


@dataclass(frozen=True)
class Widen(_Resizing):
    """More units in `layer`: copies of old ones, which share their outgoing weights unevenly, or drawn ones.

    A unit with incoming weights w and outgoing v becomes copies with w and a_k v, sum a_k = 1 (Chen, Goodfellow and
    Shlens 2016, Net2Net, section 3.1). Uneven a_k give the copies different gradients, so they do not stay twins. All
    layers that are coupled to this one (residual sums, depthwise convolutions, gates) are widened with it, and every
    consumer is adapted. Drawn units have incoming weights of their own, and outgoing ones of 0: the output stays, and
    what is new can be learnt at once, where copies must drift apart first.
    """

    layer: str
    """Name of a linear or convolution layer."""
    width: int
    """Its new number of outputs."""
    units: str = "copies"
    """What new units are: copies or drawn."""
    name: ClassVar[str] = "widen"

    def arguments(self) -> dict[str, Any]:
        """See `Morph.arguments`; `units` where it is another than the default."""
        return {name: value for name, value in super().arguments().items() if (name, value) != ("units", "copies")}

    def draft_with(self, traces: Traces, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.draft_with`."""
        if self.units not in UNITS:
            raise MorphError(f"units {' or '.join(UNITS)}", repr(self.units), "name one of them")
        widths = traces.widths(model, example)
        width = find_width(model, self.layer, widths, copies=True)
        old = width.unit.size
        block = old * width.step if width.unit.equal else width.step
        if self.width <= width.total or (self.width - width.rest) % block:
            legal = max(width.total + block, width.rest - (width.rest - self.width) // block * block)
            reason = f" ({width.unit.equal})" if width.unit.equal else ""
            beyond = f"{width.rest} and " if width.rest else ""
            expected = f"more than {width.total} and {beyond}a multiple of {block}{reason}"
            raise IllegalWidth(expected, f"width {self.width}", f"the nearest legal width is {legal}")
        count = (self.width - width.rest) // width.step
        units, shares = _copies(old, count, seed, equal=bool(width.unit.equal))
        drawn = self.units == "drawn"
        if drawn:
            shares = (1.0,) * old + (0.0,) * (count - old)
        steps = resize_steps(model, widths, width.unit, count, copies=True, drawn=drawn)
        return Draft(steps=steps, units=units, old_units=old, shares=shares)


def _copies(old: int, count: int, seed: int, *, equal: bool) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Which old unit each of `count` new ones copies, and its share; shares of one unit add up to 1."""
    generator = torch.Generator().manual_seed(seed)
    extra: list[int] = []
    while len(extra) < count - old:
        order = list(range(old)) if equal else torch.randperm(old, generator=generator).tolist()
        extra += order
    units = [*range(old), *extra[: count - old]]
    copies: list[list[int]] = [[] for _ in range(old)]
    for place, unit in enumerate(units):
        copies[unit].append(place)
    shares = [1.0] * count
    for places in copies:
        # Different for each copy, and none too small to learn with.
        parts = (20 + torch.randperm(max(25, len(places)), generator=generator)[: len(places)]).tolist()
        for place, part in zip(places[:-1], parts, strict=False):
            shares[place] = part / sum(parts)
        # The last takes what is left, so that shares of one unit add up to 1 but for one rounding.
        shares[places[-1]] = 1.0 - sum(shares[place] for place in places[:-1])
    return tuple(units), tuple(shares)


@dataclass(frozen=True)
class Prune(_Resizing):
    """Fewer units in `layer` and in all that is coupled to it; the function changes, and the plan says by how much."""

    layer: str
    """Name of a linear or convolution layer."""
    keep: int | tuple[int, ...]
    """How many units stay (those of the largest weights), or which ones, by number."""
    name: ClassVar[str] = "prune"
    exact: ClassVar[bool] = False

    def draft_with(self, traces: Traces, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.draft_with`."""
        widths = traces.widths(model, example)
        width = find_width(model, self.layer, widths, copies=False)
        units = self._kept(model, widths, width)
        steps = resize_steps(model, widths, width.unit, len(units), copies=False)
        return Draft(steps=steps, units=units, old_units=width.unit.size, shares=(1.0,) * len(units))

    def _kept(self, model: nn.Module, widths: Widths, width: Width) -> tuple[int, ...]:
        old, step = width.unit.size, width.step
        if isinstance(self.keep, int):
            rest = width.rest
            if not rest < self.keep < width.total or (self.keep - rest) % step:
                beyond = f"{rest} and " if rest else ""
                expected = f"from {rest + step} to {width.total - step}, {beyond}a multiple of {step}"
                hint = "keep at least one unit and drop at least one"
                if width.total <= rest + step:
                    raise MorphError(expected, f"keep {self.keep}", hint)
                legal = rest + max(1, min((self.keep - rest) // step, old - 1)) * step
                raise IllegalWidth(expected, f"keep {self.keep}", f"{hint}; the nearest legal width is {legal}")
            strength = _strength(model, widths, width.unit)
            return tuple(sorted(torch.topk(strength, (self.keep - rest) // step).indices.tolist()))
        chosen: Sequence[int] = sorted(set(self.keep))
        if not 0 < len(chosen) < old or len(chosen) != len(self.keep) or chosen[0] < 0 or chosen[-1] >= old:
            expected = f"1 to {old - 1} different unit numbers from 0 to {old - 1}"
            raise MorphError(expected, f"keep {self.keep}", "name the units that stay")
        return tuple(chosen)


def _strength(model: nn.Module, widths: Widths, unit: WidthVar) -> torch.Tensor:
    """Sum of squares of all weights that belong to each unit, as in Li et al. (2017) with squares for moduli."""
    strength = torch.zeros(unit.size, dtype=torch.float64)
    for name, parameter in model.named_parameters():
        for number, dim in enumerate(widths.dims.get(name, ())):
            if unit not in width_vars(dim) or parameter.dim() < 2:
                continue
            squares = parameter.detach().double().cpu().square().transpose(0, number).flatten(1).sum(1)
            begin = 0
            for part in layout_of(dim, unit):
                size = part.size(unit.size)
                if not part.fixed:
                    block = squares[begin : begin + size].reshape(part.outer, unit.size, part.inner)
                    strength += block.sum((0, 2))
                begin += size
    return strength
