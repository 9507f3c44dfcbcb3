"""Find memory that is not given back: live bytes and graph nodes over repeated calls, and who holds them.

Covered: storages that the call's operations make in the calling thread, on any device, also those that only a graph
holds; nodes of the graph, which hold memory of their own after backward has freed what they saved; what only the cyclic
collector gives back. Not covered: other memory that is no tensor's, compiled code, other threads. The resident set of a
process is no instrument for this: allocators keep what small tensors freed.
"""

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lab.base import Report, ReportTable, require_range
from lab.device.dispatch import AllocationSite, Line, StorageTracker
from lab.device.footprint import storage_key, visible_tensors
from lab.device.graph_nodes import NodeTracker
from lab.device.holders import (
    describe_referrers,
    find_holders,
    graphs_that_hold_themselves,
    names_around,
    names_of_user_modules,
)

CONFIDENCE = 0.95
GROWS, HELD, NONE = "leak", "held, no longer growing", "no leak"
STORAGES, NODES = "storages", "graph nodes"


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What one line made and each call leaves behind: storages of one operation, or nodes of the graph."""

    line: str
    """The line that made them."""
    operation: str
    """The operation that made them; of nodes the two commonest."""
    storages: int
    """How many are alive."""
    nbytes: int
    """Their bytes together; 0 for nodes, whose memory torch does not tell."""
    holders: tuple[str, ...]
    """Paths of names that lead to the oldest ones; where no name does, the kinds of their holders."""
    unit: str = STORAGES
    """storages or graph nodes."""

    def __str__(self) -> str:
        held = ", ".join(self.holders) or "no name that was searched (C++ code, another thread)"
        return f"{self.storages} {self.unit} ({self.nbytes:,} bytes) of {self.operation} at {self.line}, held by {held}"


@dataclass(frozen=True, kw_only=True)
class LeakReport(Report):
    """Live bytes and graph nodes after each call, their trend, and what stays."""

    live: tuple[int, ...]
    """Bytes alive after each measured call, of what was made since the first."""
    slope: float
    """Bytes per call, by least squares."""
    low: float
    """Lower end of the slope's 95 % confidence interval (Student's t)."""
    high: float
    """Upper end."""
    nodes: tuple[int, ...]
    """Nodes of the graph alive after each measured call, of those made since the first."""
    node_slope: float
    """Nodes per call, by least squares."""
    node_low: float
    """Lower end of that slope's 95 % confidence interval."""
    cyclic: tuple[int, ...]
    """Bytes that each call left for the cyclic collector: nobody reaches them, and they stay until it runs."""
    cycles: tuple[str, ...]
    """Types of the objects in the cycles of the last call, the commonest first."""
    leaks: tuple[Leak, ...]
    """What at least half of the measured calls left behind, largest first; graph nodes where their number grows."""

    @property
    def verdict(self) -> str:
        """leak; held, no longer growing (a bounded cache); no leak."""
        if _grows(self.live, self.low) or _grows(self.nodes, self.node_low):
            return GROWS
        return HELD if _settled(self.live) else NONE

    @property
    def ok(self) -> bool:
        """False where live bytes or nodes grow: the whole interval is above 0, and the second half grows too."""
        return self.verdict != GROWS

    def to_dict(self) -> dict[str, Any]:
        names = ("verdict", "slope", "low", "high", "node_slope", "node_low", "ok")
        lists = ("live", "nodes", "cyclic", "cycles")
        leaks = [{**asdict(leak), "holders": list(leak.holders)} for leak in self.leaks]
        return {
            **{name: list(getattr(self, name)) for name in lists},
            **{name: getattr(self, name) for name in names},
            "leaks": leaks,
        }

    def tables(self) -> tuple[ReportTable, ...]:
        calls = f"over {len(self.live)} calls, {self.live[0]:,} to {self.live[-1]:,} bytes"
        trend = f"{self.slope:,.1f} bytes a call (95 %: {self.low:,.1f} to {self.high:,.1f})"
        if self.verdict == HELD:
            since = next(number for number, size in enumerate(self.live, 1) if size >= _floor(self.live))
            trend = f"{self.live[-1]:,} bytes, since call {since}"
        if _grows(self.nodes, self.node_low):
            trend += f" and {self.node_slope:,.1f} graph nodes a call"
        rows = tuple(
            (f"{leak.nbytes:,}", f"{leak.storages} {leak.unit}", leak.operation, leak.line, "; ".join(leak.holders))
            for leak in self.leaks
        )
        notes = []
        if 2 * sum(map(bool, self.cyclic)) >= len(self.cyclic):
            of = f" of {', '.join(self.cycles)}" if self.cycles else ""
            size = f"{max(self.cyclic):,} bytes a call"
            notes.append(f"held only until the cyclic collector runs: {size}, in reference cycles{of}")
        columns = ("bytes", "alive", "operation", "line", "held by")
        return (ReportTable(title=f"{self.verdict}: {trend} {calls}", columns=columns, rows=rows, notes=tuple(notes)),)


def measure_leak(
    call: Callable[[], object], *, calls: int = 20, warm_up: int = 3, roots: Mapping[str, object] | None = None
) -> LeakReport:
    """Call `call` repeatedly and say whether live tensor bytes grow, by how much a call, and who holds what stays.

    Cyclic garbage is collected after each call and at no other time, so that it is no leak and can be told.

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
    storages, graph = StorageTracker(), NodeTracker()
    live, nodes, cyclic = [], [], []
    cycles: tuple[str, ...] = ()
    with _fast_collection(), storages, graph:
        for number in range(warm_up + calls):
            storages.mark = graph.mark = number - warm_up
            call()
            before = storages.live
            if number == warm_up + calls - 1:
                cycles = _types_in_cycles()
            gc.collect()
            if number >= warm_up:
                live.append(storages.live)
                nodes.append(graph.live)
                cyclic.append(before - storages.live)
    slope, low, high = _trend(live)
    node_slope, node_low, _ = _trend(nodes)
    named = {**(roots or {}), **names_around(call)}
    # Of a cache that has filled up, only as many calls are left as it has room for.
    leaks = _leaks(storages, 2 if _settled(live) else (calls + 1) // 2, named)
    if _grows(nodes, node_low):
        leaks += _graphs(graph, (calls + 1) // 2, named)
    return LeakReport(
        live=tuple(live),
        slope=slope,
        low=low,
        high=high,
        nodes=tuple(nodes),
        node_slope=node_slope,
        node_low=node_low,
        cyclic=tuple(cyclic),
        cycles=cycles if any(cyclic) else (),
        leaks=leaks,
    )


def _grows(live: Sequence[int], low: float) -> bool:
    return low > 0 and live[-1] > live[len(live) // 2]


def _floor(live: Sequence[int]) -> int:
    return min(live[len(live) // 2 :])


def _settled(live: Sequence[int]) -> bool:
    """It grew, and stopped."""
    return live[0] < _floor(live) and live[-1] <= live[len(live) // 2]


def _types_in_cycles() -> tuple[str, ...]:
    """What unreachable cycles are made of, by type; nothing is freed here that the next collection would not free."""
    flags, kept = gc.get_debug(), list(gc.garbage)
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found = Counter(type(thing).__name__ for thing in gc.garbage[len(kept) :] if not isinstance(thing, Tensor))
    finally:
        gc.garbage[:] = kept
        gc.set_debug(flags)
    return tuple(name for name, _ in found.most_common(3))


@contextmanager
def _fast_collection() -> Iterator[None]:
    """No collections inside but those that are asked for, and what is there already is left out of them.

    It is not, where somebody uses the collector's frozen list already.
    """
    gc.collect()
    ours, was_on = gc.get_freeze_count() == 0, gc.isenabled()
    if ours:
        gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
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


def _leaks(tracker: StorageTracker, least: int, roots: Mapping[str, object]) -> tuple[Leak, ...]:
    """The groups of storages that at least `least` calls left behind."""
    groups: dict[tuple[Line, str], list[tuple[int, AllocationSite]]] = defaultdict(list)
    for key, birth in tracker.alive().items():
        if birth.mark >= 0:
            groups[birth.line, birth.operation].append((key, birth))
    staying = {name: born for name, born in groups.items() if _calls(born) >= least}
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


def _graphs(tracker: NodeTracker, least: int, roots: Mapping[str, object]) -> tuple[Leak, ...]:
    """The nodes that at least `least` calls left behind, by line."""
    groups: dict[Line, list[tuple[int, AllocationSite]]] = defaultdict(list)
    for number, birth in tracker.alive().items():
        if birth.mark >= 0:
            groups[birth.line].append((number, birth))
    staying = {line: born for line, born in groups.items() if _calls(born) >= least}
    oldest = {line: min(number for number, _ in born) for line, born in staying.items()}
    wanted = frozenset(oldest.values())
    paths = find_holders(roots, wanted, tracker.number_of)
    if len(paths) < len(wanted):
        paths = {**find_holders(names_of_user_modules(), wanted, tracker.number_of), **paths}
    if len(paths) < len(wanted):
        hidden = graphs_that_hold_themselves(visible_tensors())
        paths = {**find_holders(hidden, wanted, tracker.number_of), **paths}
    leaks = []
    for line, born in staying.items():
        counts = Counter(birth.operation for _, birth in born).most_common(2)
        path = paths.get(oldest[line])
        leaks.append(
            Leak(
                line=str(line),
                operation=", ".join(f"{name} x{count}" for name, count in counts),
                storages=len(born),
                nbytes=0,
                holders=() if path is None else (path,),
                unit=NODES,
            )
        )
    return tuple(sorted(leaks, key=lambda leak: -leak.storages))


def _calls(born: list[tuple[int, AllocationSite]]) -> int:
    return len({birth.mark for _, birth in born})


def _oldest(born: list[tuple[int, AllocationSite]]) -> list[int]:
    return [key for key, _ in sorted(born, key=lambda pair: pair[1].number)[:3]]


def _paths(wanted: frozenset[int], roots: Mapping[str, object]) -> dict[int, tuple[str, ...]]:
    found = find_holders(roots, wanted)
    if len(found) < len(wanted):
        found = {**find_holders(names_of_user_modules(), wanted), **found}
    paths: dict[int, tuple[str, ...]] = {key: (path,) for key, path in found.items()}
    if len(paths) < len(wanted):
        tensors = visible_tensors()
        rest = frozenset(key for key in wanted if key not in paths)
        paths |= {key: (path,) for key, path in find_holders(graphs_that_hold_themselves(tensors), rest).items()}
        for tensor in tensors:
            key = storage_key(tensor)
            if key is not None and key in wanted and key not in paths:
                paths[key] = describe_referrers(tensor, tensors)
    return paths
