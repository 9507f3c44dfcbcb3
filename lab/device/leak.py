"""Find memory that is not given back: live bytes over repeated calls, and who holds them.

Covered: storages that the call's operations make in the calling thread, on any device, also those that only a graph
holds. Not covered: memory that is no tensor's, compiled code, other threads. The resident set of a process is no
instrument for this: allocators keep what small tensors freed.
"""

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.base import Report, ReportTable, require_range
from lab.device.dispatch import AllocationSite, Line, StorageTracker
from lab.device.footprint import storage_key, visible_tensors
from lab.device.holders import describe_referrers, find_holders, names_around, names_of_user_modules

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Storages of one line that each call leaves behind."""

    line: str
    """The line that made them."""
    operation: str
    """The operation that made them."""
    storages: int
    """How many are alive."""
    nbytes: int
    """Their bytes together."""
    holders: tuple[str, ...]
    """Paths of names that lead to the oldest ones; where no name does, the kinds of their holders."""

    def __str__(self) -> str:
        held = ", ".join(self.holders) or "no name that was searched (C++ code, another thread)"
        return f"{self.storages} storages ({self.nbytes:,} bytes) of {self.operation} at {self.line}, held by {held}"


@dataclass(frozen=True, kw_only=True)
class LeakReport(Report):
    """Live bytes after each call, their trend, and what stays."""

    live: tuple[int, ...]
    """Bytes alive after each measured call, of what was made since the first."""
    slope: float
    """Bytes per call, by least squares."""
    low: float
    """Lower end of the slope's 95 % confidence interval (Student's t)."""
    high: float
    """Upper end."""
    leaks: tuple[Leak, ...]
    """What at least half of the measured calls left behind, largest first."""

    @property
    def ok(self) -> bool:
        """False where the live bytes grow: the whole interval is above 0, and the second half grows too."""
        return not (self.low > 0 and self.live[-1] > self.live[len(self.live) // 2])

    def to_dict(self) -> dict[str, Any]:
        names = ("slope", "low", "high", "ok")
        leaks = [{**asdict(leak), "holders": list(leak.holders)} for leak in self.leaks]
        return {"live": list(self.live), **{name: getattr(self, name) for name in names}, "leaks": leaks}

    def tables(self) -> tuple[ReportTable, ...]:
        verdict = "no leak" if self.ok else "leak"
        trend = f"{self.slope:,.1f} bytes a call (95 %: {self.low:,.1f} to {self.high:,.1f})"
        title = f"{verdict}: {trend} over {len(self.live)} calls, {self.live[0]:,} to {self.live[-1]:,} bytes"
        rows = tuple(
            (f"{leak.nbytes:,}", str(leak.storages), leak.operation, leak.line, "; ".join(leak.holders))
            for leak in self.leaks
        )
        return (ReportTable(title=title, columns=("bytes", "storages", "operation", "line", "held by"), rows=rows),)


def measure_leak(
    call: Callable[[], object], *, calls: int = 20, warm_up: int = 3, roots: Mapping[str, object] | None = None
) -> LeakReport:
    """Call `call` repeatedly and say whether live tensor bytes grow, by how much a call, and who holds what stays.

    Cyclic garbage is collected after each call, so that it is no leak.

    Args:
        call: one step, without arguments. What it returns is dropped.
        calls: measured calls; >= 4.
        warm_up: calls before these, in which caches and optimizer state may grow; >= 0.
        roots: further objects by name in which holders are looked for; the call's closure, the globals of its module,
            and those of the user's other modules are looked through anyway.

    Raises:
        ConfigError: a number outside its range.
    """
    require_range("calls", calls, 4)
    require_range("warm_up", warm_up, 0)
    tracker = StorageTracker()
    live = []
    with _fast_collection(), tracker:
        for number in range(warm_up + calls):
            tracker.mark = number - warm_up
            call()
            gc.collect()
            if number >= warm_up:
                live.append(tracker.live)
    slope, low, high = _trend(live)
    leaks = _leaks(tracker, calls, {**(roots or {}), **names_around(call)})
    return LeakReport(live=tuple(live), slope=slope, low=low, high=high, leaks=leaks)


@contextmanager
def _fast_collection() -> Iterator[None]:
    """Keep what is there already out of the collections inside, unless somebody uses that list already."""
    gc.collect()
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


def _trend(live: list[int]) -> tuple[float, float, float]:
    """Slope of the least-squares line over the call number, with its confidence interval."""
    # slow to import, and only leak meters need it
    from scipy.stats import linregress, t

    if len(set(live)) == 1:
        return 0.0, 0.0, 0.0
    fit = linregress(np.arange(len(live)), np.array(live, dtype=float))
    # The line took two parameters from the data: n - 2 degrees of freedom.
    margin = float(t.ppf((1 + CONFIDENCE) / 2, len(live) - 2) * fit.stderr)
    return float(fit.slope), float(fit.slope) - margin, float(fit.slope) + margin


def _leaks(tracker: StorageTracker, calls: int, roots: Mapping[str, object]) -> tuple[Leak, ...]:
    groups: dict[tuple[Line, str], list[tuple[int, AllocationSite]]] = defaultdict(list)
    for key, birth in tracker.alive().items():
        if birth.mark >= 0:
            groups[birth.line, birth.operation].append((key, birth))
    staying = {name: born for name, born in groups.items() if 2 * len({birth.mark for _, birth in born}) >= calls}
    oldest = {name: _oldest(born) for name, born in staying.items()}
    paths = _paths(frozenset(key for keys in oldest.values() for key in keys), roots)
    leaks = [
        Leak(
            line=str(line),
            operation=operation,
            storages=len(born),
            nbytes=sum(birth.nbytes for _, birth in born),
            holders=tuple(dict.fromkeys(path for key in oldest[line, operation] for path in paths.get(key, ()))),
        )
        for (line, operation), born in staying.items()
    ]
    return tuple(sorted(leaks, key=lambda leak: -leak.nbytes))


def _oldest(born: list[tuple[int, AllocationSite]]) -> list[int]:
    return [key for key, _ in sorted(born, key=lambda pair: pair[1].number)[:3]]


def _paths(wanted: frozenset[int], roots: Mapping[str, object]) -> dict[int, tuple[str, ...]]:
    found = find_holders(roots, wanted)
    if len(found) < len(wanted):
        found = {**find_holders(names_of_user_modules(), wanted), **found}
    paths: dict[int, tuple[str, ...]] = {key: (path,) for key, path in found.items()}
    if len(paths) < len(wanted):
        tensors = visible_tensors()
        for tensor in tensors:
            key = storage_key(tensor)
            if key is not None and key in wanted and key not in paths:
                paths[key] = describe_referrers(tensor, tensors)
    return paths
