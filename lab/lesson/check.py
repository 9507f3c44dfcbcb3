"""Compare what came with what was wanted, and say how far off it is.

Covers tensors, numpy arrays, numbers, nested lists, tuples and mappings of these (a `state_dict`), and any other
objects by `==`. Devices may differ: values are compared on the CPU and the difference of place is named.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lab.base import ReportTable, require_range
from lab.lesson.report import LessonReport

DRAWN = 4096
"""Largest number of values that a result keeps to be drawn."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CheckResult(LessonReport):
    """How two values compare: `exact`, `approximate` or off by `max_difference`."""

    name: str
    """What was compared."""
    ok: bool
    """Same structure, shape and dtype, and no difference above `atol`."""
    exact: bool
    """Every value equal; NaN equals NaN at the same place."""
    approximate: bool
    """Same structure and shape, and no difference above `atol`."""
    max_difference: float | None
    """Largest absolute difference; infinite where a value is missing on one side; None where nothing is comparable."""
    atol: float
    """Largest absolute difference that passes."""
    problems: tuple[str, ...]
    """One sentence for each thing that is off."""
    notes: tuple[str, ...] = ()
    """What is different and does not matter here."""
    meaning: str = ""
    """What is wrong where it is off, in the words of whoever wrote the check."""
    pair: "tuple[NDArray[Any], NDArray[Any]] | None" = field(default=None, compare=False)
    """The numbers that came and those that were wanted, of the one comparison that is furthest off; None where they are
    no real numbers of one shape, or more than `DRAWN`."""

    @property
    def verdict(self) -> str:
        """`exact`, `approximate` or `off`, after a sign that does not depend on colour."""
        if not self.ok:
            return "✗ off"
        return "✓ exact" if self.exact else "✓ approximate"

    def to_dict(self) -> dict[str, Any]:
        """Every field of the result."""
        return {
            "name": self.name,
            "ok": self.ok,
            "exact": self.exact,
            "approximate": self.approximate,
            "max_difference": self.max_difference,
            "atol": self.atol,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "meaning": self.meaning,
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """One row: verdict and figures; the problems below it."""
        largest = "-" if self.max_difference is None else f"{self.max_difference:.3g}"
        row = (
            self.verdict,
            "yes" if self.exact else "no",
            "yes" if self.approximate else "no",
            largest,
            f"{self.atol:g}",
        )
        columns = ("verdict", "exact", "approximate", "max difference", "allowed")
        said = (f"what is wrong: {self.meaning}",) if self.meaning and not self.ok else ()
        notes = (*said, *self.problems, *(f"note: {note}" for note in self.notes))
        return (ReportTable(title=f"Check: {self.name}", columns=columns, rows=(row,), notes=notes),)


@dataclass(frozen=True)
class _Leaf:
    """One compared pair: its largest difference and what is off."""

    exact: bool
    difference: float | None
    problem: str = ""
    typed: bool = True
    note: str = ""
    pair: "tuple[NDArray[Any], NDArray[Any]] | None" = None


def _pairs(got: Any, want: Any, path: str) -> Iterator[tuple[str, Any, Any, str]]:
    """Leaves of two structures side by side, as (path, got, want, structural problem)."""
    if isinstance(want, Mapping) and isinstance(got, Mapping):
        for key in [*want, *(key for key in got if key not in want)]:
            at = f"{path}[{key!r}]"
            if key not in got or key not in want:
                yield at, None, None, f"{at} is {'missing' if key not in got else 'not wanted'}"
            else:
                yield from _pairs(got[key], want[key], at)
    elif isinstance(want, list | tuple) and isinstance(got, list | tuple):
        if len(got) != len(want):
            yield path, None, None, f"{path or 'it'} has {len(got)} items; wanted {len(want)}"
            return
        for index, (got_item, want_item) in enumerate(zip(got, want, strict=True)):
            yield from _pairs(got_item, want_item, f"{path}[{index}]")
    else:
        yield path, got, want, ""


def _tensor(value: Any) -> torch.Tensor | None:
    """`value` as a detached tensor, or None where it holds no numbers."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, bool | int | float | complex):
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    if isinstance(value, np.ndarray | np.generic) and np.asarray(value).dtype.kind in "biufc":
        return torch.from_numpy(np.array(value))
    return None


def _compare(got: Any, want: Any, path: str, atol: float) -> _Leaf:
    """Compare one pair of leaves."""
    at = f"{path}: " if path else ""
    a, b = _tensor(got), _tensor(want)
    if a is None or b is None:
        if type(got) is type(want) and got == want:
            return _Leaf(True, None)
        return _Leaf(False, None, f"{at}got {_brief(got)}; wanted {_brief(want)}")
    if a.shape != b.shape:
        return _Leaf(False, None, f"{at}shape {tuple(a.shape)}; wanted {tuple(b.shape)}")
    if a.is_meta or b.is_meta:
        return _Leaf(
            False, None, f"{at}{'got' if a.is_meta else 'wanted'} a meta tensor, which has no values to compare"
        )
    both = isinstance(got, torch.Tensor) and isinstance(want, torch.Tensor)
    typed = not both or a.dtype == b.dtype
    note = f"{at}on {a.device}; wanted on {b.device}" if both and a.device != b.device else ""
    a, b = a.cpu(), b.cpu()
    if a.is_sparse or b.is_sparse:
        a, b = a.to_dense(), b.to_dense()
    difference, index = _largest(a, b)
    exact = typed and difference == 0.0
    problem = "" if typed else f"{at}dtype {a.dtype}; wanted {b.dtype}"
    if difference > atol:
        here = f" at {index}" if index else ""
        values = f"got {_number(a, index)}, wanted {_number(b, index)}"
        problem = "; ".join(filter(None, (problem, f"{at}off by {difference:.3g}{here}: {values}; allowed {atol:g}")))
    return _Leaf(exact, difference, problem, typed, note, _drawn(a, b))


def _drawn(a: torch.Tensor, b: torch.Tensor) -> "tuple[NDArray[Any], NDArray[Any]] | None":
    """Copies of the two as numpy arrays; None where they are complex, empty or too many."""
    if a.is_complex() or b.is_complex() or not 0 < a.numel() <= DRAWN:
        return None
    return a.to(torch.float64, copy=True).numpy(), b.to(torch.float64, copy=True).numpy()


def _largest(a: torch.Tensor, b: torch.Tensor) -> tuple[float, tuple[int, ...]]:
    """Largest absolute difference and its index; NaN on one side only counts as infinite, NaN on both as none."""
    if a.numel() == 0:
        return 0.0, ()
    wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    x, y = a.to(wide), b.to(wide)
    whole = not any(t.is_floating_point() or t.is_complex() for t in (a, b))
    equal = a == b if whole else (x == y) | (x.isnan() & y.isnan())
    gap = (x - y).abs()
    if whole:
        # float64 cannot tell neighbours above 2 ** 53 apart.
        gap = gap.clamp(min=1.0)
    gap[gap.isnan()] = math.inf
    gap[equal] = 0.0
    flat = int(gap.argmax())
    return float(gap.reshape(-1)[flat]), tuple(int(i) for i in np.unravel_index(flat, tuple(a.shape)))


def _number(value: torch.Tensor, index: tuple[int, ...]) -> str:
    item = value[index].item()
    return f"{item:.6g}" if isinstance(item, float) else str(item)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def check(name: str, got: Any, want: Any, *, atol: float = 0.0, meaning: str = "") -> CheckResult:
    """Compare `got` with `want` and tell exact, approximate, or how far off.

    Args:
        name: what is compared, for the reader.
        got: a tensor, array, number, a nested list, tuple or mapping of these, or any object with `==`.
        want: the value that it should be. Two tensors must have the same dtype; a Python number has none.
        atol: largest absolute difference that passes; 0 asks for equality.
        meaning: what is wrong where it is off, as a sentence for the reader.

    Returns:
        A `CheckResult` with `.ok`; it never raises for a wrong value, so write `assert result.ok, result` where the
        lesson must not go on.

    Raises:
        ConfigError: `atol` is negative, infinite or NaN.
    """
    require_range("atol", atol, 0.0, sys.float_info.max)
    leaves = []
    for path, got_leaf, want_leaf, problem in _pairs(got, want, ""):
        leaves.append(_Leaf(False, None, problem) if problem else _compare(got_leaf, want_leaf, path, atol))
    differences = [leaf.difference for leaf in leaves if leaf.difference is not None]
    drawn = [leaf for leaf in leaves if leaf.pair is not None]
    worst = max(drawn, key=lambda leaf: leaf.difference or 0.0, default=None)
    close = all(leaf.exact if leaf.difference is None else leaf.difference <= atol for leaf in leaves)
    return CheckResult(
        name=name,
        ok=close and all(leaf.typed for leaf in leaves),
        exact=all(leaf.exact for leaf in leaves),
        approximate=close,
        max_difference=max(differences) if differences else None,
        atol=atol,
        problems=tuple(leaf.problem for leaf in leaves if leaf.problem),
        notes=tuple(leaf.note for leaf in leaves if leaf.note),
        meaning=meaning,
        pair=worst.pair if worst else None,
    )
