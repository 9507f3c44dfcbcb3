"""Copy the values of one model into another of a different shape, and say of each tensor what became of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import MaterializeError, Report, ReportTable

COPIED, SLICED, MISSING, UNUSED = "copied", "sliced", "missing", "unused"


@dataclass(frozen=True, kw_only=True)
class TransferReport(Report):
    """What became of each tensor of both models' states."""

    outcomes: dict[str, str]
    """By name: copied (same shape), sliced (the part that both have), missing (the target's, without a source),
    unused (the source's, without a place in the target)."""
    reasons: dict[str, str]
    """By name, for all that were not copied: shapes, or why there was none."""

    def names(self, outcome: str) -> tuple[str, ...]:
        """The names of one outcome."""
        return tuple(name for name, was in self.outcomes.items() if was == outcome)

    @property
    def ok(self) -> bool:
        """Whether every tensor of the target was copied whole."""
        return not self.names(SLICED) and not self.names(MISSING)

    def to_dict(self) -> dict[str, Any]:
        return {"outcomes": dict(self.outcomes), "reasons": dict(self.reasons), "ok": self.ok}

    def tables(self) -> tuple[ReportTable, ...]:
        counts = ", ".join(f"{len(self.names(outcome))} {outcome}" for outcome in (COPIED, SLICED, MISSING, UNUSED))
        rows = tuple((name, outcome, self.reasons.get(name, "")) for name, outcome in self.outcomes.items())
        return (ReportTable(title=f"Transfer: {counts}", columns=("tensor", "outcome", "reason"), rows=rows),)


@torch.no_grad()
def transfer_state(source: nn.Module, target: nn.Module) -> TransferReport:
    """Copy the source's parameters and persistent buffers into the target's tensors of the same names.

    Where a shape differs in sizes but not in the number of dimensions, the leading part that both have is copied and
    the rest of the target keeps its values. The target's dtypes and devices stay.

    Args:
        source: is not changed.
        target: its tensors are written in place and stay the same objects.

    Raises:
        MaterializeError: either model has a meta tensor, or two names are one tensor of the target and have different
            values in the source; nothing was copied.
    """
    # A state dict holds aliases of the model's tensors: to copy into `places` changes the target.
    values, places = source.state_dict(), target.state_dict()
    _refuse_meta("source", values.items())
    _refuse_meta("target", places.items())
    _refuse_two_values(values, places)
    outcomes: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for name, place in places.items():
        outcomes[name], reason = _transfer(values.get(name), place)
        if reason:
            reasons[name] = reason
    for name in values:
        if name not in places:
            outcomes[name], reasons[name] = UNUSED, "the target has none of this name"
    return TransferReport(outcomes=outcomes, reasons=reasons)


def _refuse_two_values(values: Mapping[str, Any], places: Mapping[str, Any]) -> None:
    """The last of two different values for one tied tensor would win without a word."""
    first: dict[tuple[object, ...], str] = {}
    for name, place in places.items():
        value = values.get(name)
        if not isinstance(place, Tensor) or not isinstance(value, Tensor) or not _fits(value, place):
            continue
        # Two names of one tensor are two objects in a state dict; their memory tells that they are one.
        here = (place.untyped_storage()._cdata, place.storage_offset(), *place.shape, *place.stride())
        other = first.setdefault(here, name)
        again = values[other]
        if again is not value and not torch.equal(again.to(value), value):
            got = f"two of the source that differ: {other} and {name}"
            hint = "tie them in the source too, or untie them in the target"
            raise MaterializeError(f"one value for the tied {other} = {name}", got, hint)


def _fits(value: Tensor, place: Tensor) -> bool:
    """Values of this kind can be copied there, whole or in part."""
    dense = place.layout is torch.strided
    return dense and value.dim() == place.dim() and value.is_floating_point() == place.is_floating_point()


def _transfer(value: Tensor | None, place: Tensor) -> tuple[str, str]:
    if value is None:
        return MISSING, "the source has none of this name"
    shapes = f"{tuple(value.shape)} into {tuple(place.shape)}"
    if value.dim() != place.dim() or value.is_floating_point() != place.is_floating_point():
        return MISSING, f"{shapes}, {value.dtype} into {place.dtype}"
    if value.shape == place.shape:
        place.copy_(value)
        return COPIED, ""
    part = tuple(slice(0, min(sizes)) for sizes in zip(value.shape, place.shape, strict=True))
    place[part].copy_(value[part])
    return SLICED, shapes


def _refuse_meta(which: str, named: Iterable[tuple[str, Any]]) -> None:
    names = [name for name, value in named if isinstance(value, Tensor) and value.is_meta]
    if names:
        got = f"a {which} with {len(names)} meta tensors: {', '.join(names)}"
        raise MaterializeError("two models whose tensors have data", got, "materialize it first")
