"""Measure the memory of a block of code, in bytes, on the CPU too.

On the CPU two instruments run side by side. The allocator's events, which torch's profiler hands out, give the number.
A dispatch mode (`lab.device.dispatch`) gives the blame: which line's storages were alive at the peak. The two agree
where an operation allocates nothing but its results; convolutions, recurrent nets and some backward operations have
temporaries of their own, and the report prints the gap. On CUDA the number comes from the allocator's statistics.

Not covered: other threads, numpy's own arrays, memory-mapped files, storages that are resized.
"""

import os
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.profiler import profile, record_function

from lab.base import ConfigError, PlacementError, Report, ReportTable, TrainingError
from lab.device.choose import require_device
from lab.device.dispatch import StorageTracker
from lab.device.footprint import storages, visible_tensors
from lab.device.walk import named_tensors

ALLOCATOR_EVENTS = "allocator events of the calling thread"
ALLOCATOR_STATISTICS = "statistics of the CUDA allocator"
NOT_COUNTED = "not counted: other threads, numpy's own arrays, memory-mapped files"
_FREED = "lab.freed "


@dataclass(frozen=True, kw_only=True)
class MemoryReport(Report):
    """Bytes before, at the peak of and after a block of code."""

    device: str
    """The device whose memory this is."""
    before: int
    """Bytes alive at entry: of the roots, or of every tensor that Python sees where no roots were given."""
    peak: int
    """Most bytes alive inside the block: those before, less what was freed of them, and what was allocated."""
    after: int
    """Bytes alive at the end, counted in the same way."""
    instrument: str
    """Where the number comes from."""
    allocated_peak: int
    """Most bytes alive at once of what the block itself allocated."""
    dispatch_peak: int | None
    """The same by the second instrument, which sees the results of operations only; None where it was off."""
    by_line: dict[str, int]
    """Bytes alive at the second instrument's peak, by the line of code that made them, largest first."""
    notes: tuple[str, ...] = ()
    """What is not in the numbers."""

    @property
    def gap(self) -> int | None:
        """Bytes of the allocated peak that no line explains: temporaries inside operations; None without blame."""
        return None if self.dispatch_peak is None else self.allocated_peak - self.dispatch_peak

    def __getattr__(self, name: str) -> Any:
        # reached for a missing field alone: the block that fills them has not ended
        if name in MemoryReport.__dataclass_fields__:
            raise TrainingError("the measured block to have ended", f"a read of {name} inside it", "read it after")
        raise AttributeError(name)

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "notes": list(self.notes), "gap": self.gap}

    def tables(self) -> tuple[ReportTable, ...]:
        rows = [(name, f"{getattr(self, name):,}") for name in ("before", "peak", "after", "allocated_peak")]
        if self.dispatch_peak is not None:
            share = f" ({self.gap / self.allocated_peak:.1%})" if self.gap is not None and self.allocated_peak else ""
            rows += [("dispatch_peak", f"{self.dispatch_peak:,}"), ("gap", f"{self.gap:,}{share}")]
        title = f"Memory of {self.device} by {self.instrument}"
        tables = [ReportTable(title=title, columns=("", "bytes"), rows=tuple(rows), notes=self.notes)]
        if self.by_line:
            lines = tuple((f"{size:,}", line) for line, size in list(self.by_line.items())[:12])
            tables.append(ReportTable(title="Alive at the peak, by line", columns=("bytes", "line"), rows=lines))
        return tuple(tables)


@contextmanager
def measure_memory(
    device: str | torch.device = "cpu", roots: object = (), *, blame: bool = True
) -> Iterator[MemoryReport]:
    """Measure the calling thread's memory inside the block; the report can be read once the block has ended.

    Args:
        device: the device whose memory is measured: cpu or a CUDA device.
        roots: what counts as there before: models, optimizers, tensors, containers of such. Where there are none,
            every tensor that Python sees counts. What is freed of it inside the block is counted by finalizers.
            Without a meaning on CUDA, whose allocator knows all that is there.
        blame: run the second instrument too; costs about as much time again as a small net's step.

    Raises:
        ConfigError: another profiler session runs in this thread.
        PlacementError: the machine has no such device, or the device has no allocator that counts.
    """
    place = require_device(device)
    if place.type not in ("cpu", "cuda"):
        raise PlacementError("a device that counts its peak: cpu or cuda", str(place), "measure on one of those")
    if place.type == "cpu" and torch.autograd._profiler_enabled():
        hint = "end that session first, or measure outside it"
        raise ConfigError("no other profiler session in this thread", "one that runs", hint)
    # Given out without fields, which come when the block has ended (see `__getattr__`).
    report = object.__new__(MemoryReport)
    tracker = StorageTracker() if blame else None
    measure = _cuda_bytes(place) if place.type == "cuda" else _cpu_bytes(_AllocationWatch(roots))
    del roots  # else this frame would keep alive what the block frees
    numbers: dict[str, Any] = {}
    try:
        with measure as numbers, tracker or nullcontext():
            yield report
    finally:
        if numbers:  # else the measurement could not begin
            by_line: Counter[str] = Counter()
            for line, size in tracker.peak_by_line.items() if tracker else ():
                by_line[str(line)] += size  # lines of two notebook cells may read the same
            MemoryReport.__init__(
                report,
                device=str(place),
                **numbers,
                dispatch_peak=tracker.peak if tracker else None,
                by_line=dict(by_line.most_common()),
            )


@contextmanager
def _cuda_bytes(device: torch.device) -> Iterator[dict[str, Any]]:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    numbers: dict[str, Any] = {"before": before, "instrument": ALLOCATOR_STATISTICS}
    try:
        yield numbers
    finally:
        peak = torch.cuda.max_memory_allocated(device)
        numbers |= {"peak": peak, "after": torch.cuda.memory_allocated(device), "allocated_peak": peak - before}


@contextmanager
def _cpu_bytes(watch: "_AllocationWatch") -> Iterator[dict[str, Any]]:
    numbers: dict[str, Any] = {"before": watch.nbytes, "instrument": ALLOCATOR_EVENTS, "notes": (NOT_COUNTED,)}
    session = profile(profile_memory=True, use_kineto=True)
    _start_quietly(session)
    try:
        yield numbers
    finally:
        session.__exit__(None, None, None)
        watch.stop()
        changes = _changes(session)
        numbers |= _summed(changes, watch)


def _start_quietly(session: profile) -> None:
    """Start the profiler without the lines that its library writes to the console at its first start."""
    level = os.environ.get("KINETO_LOG_LEVEL")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        session.__enter__()
    finally:
        if level is None:
            del os.environ["KINETO_LOG_LEVEL"]


class _AllocationWatch:
    """The storages that are there at entry; their deaths are written into the profiler's session as marks."""

    def __init__(self, roots: object) -> None:
        tensors = (
            visible_tensors()
            if isinstance(roots, tuple) and not roots
            else [tensor for _, tensor in named_tensors(roots)]
        )
        watched = [storage for storage in storages(tensors) if storage.device.type == "cpu"]
        self.nbytes = sum(storage.nbytes() for storage in watched)
        self.freed = 0
        """Bytes of them that were freed, in whatever thread."""
        self._thread = threading.get_ident()
        self._finalizers = [weakref.finalize(storage, self._died, storage.nbytes()) for storage in watched]

    def _died(self, nbytes: int) -> None:
        self.freed += nbytes
        if threading.get_ident() == self._thread:
            with record_function(f"{_FREED}{nbytes}"):
                pass

    def stop(self) -> None:
        """Watch no longer."""
        for finalizer in self._finalizers:
            finalizer.detach()


def _changes(session: profile) -> list[tuple[int, bool]]:
    """Changes of the live bytes in order of time, each with whether the memory was there at entry.

    A free counts only where the session saw the allocation: the allocator's own table outlives sessions, and a stale
    entry of an earlier one would be reported with the size that its address had then.
    """
    assert session.kineto_results is not None
    # The list grows while it is gone through: the tree comes out flat.
    events = list(session.kineto_results.experimental_event_tree())
    for event in events:
        events.extend(event.children)
    events.sort(key=lambda event: event.start_time_ns)
    changes: list[tuple[int, bool]] = []
    sizes: dict[int, int] = {}
    for event in events:
        fields: Any = event.extra_fields
        if event.name == "[memory]" and fields.device.type == "cpu":
            if fields.alloc_size > 0:
                sizes[fields.ptr] = fields.alloc_size
                changes.append((fields.alloc_size, False))
            elif fields.ptr in sizes:
                changes.append((-sizes.pop(fields.ptr), False))
        elif event.name.startswith(_FREED):
            changes.append((-int(event.name.removeprefix(_FREED)), True))
    return changes


def _summed(changes: list[tuple[int, bool]], watch: _AllocationWatch) -> dict[str, int]:
    old, own = watch.nbytes, 0
    peak, own_peak = old, 0
    for change, was_there in changes:
        if was_there:
            old += change
        else:
            own += change
        peak, own_peak = max(peak, old + own), max(own_peak, own)
    return {"peak": peak, "after": watch.nbytes - watch.freed + own, "allocated_peak": own_peak}
