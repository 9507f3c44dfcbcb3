"""Memory over time: every allocation and every release of a block of code, each with the line that allocated.

The instrument is the dispatch mode of `lab.device.dispatch`, on any device: it sees storages that operations of the
calling thread make. Not covered: the temporaries inside one operation, what was there before the block (its release
does not count either), compiled code, other threads. Costs about as much time again as a small network's step.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from lab.base import Report, ReportTable
from lab.device.dispatch import AllocationSite, StorageTracker


@dataclass(frozen=True, kw_only=True)
class MemoryChange:
    """A storage that was made or released."""

    line: str
    """The line of code that made it."""
    operation: str
    """The operation that made it, as torch writes it."""
    nbytes: int
    """Bytes: > 0 where it was made, < 0 where it was released."""


@dataclass(kw_only=True)
class MemoryHistory(Report):
    """What a block of code allocated and released, in order."""

    changes: list[MemoryChange] = field(default_factory=list)
    """Grows while the block runs; nothing is added behind its end."""

    @property
    def live(self) -> tuple[int, ...]:
        """Bytes alive of what the block made: 0 at its begin, then one number after each change."""
        return tuple(accumulate((change.nbytes for change in self.changes), initial=0))

    @property
    def peak(self) -> int:
        """Most bytes alive at once."""
        return max(self.live)

    def live_by_line(self) -> dict[str, tuple[int, ...]]:
        """Line -> its part of `live`, the line with the most bytes alive at once first."""
        lines: dict[str, list[int]] = {change.line: [0] for change in self.changes}
        for change in self.changes:
            for line, numbers in lines.items():
                numbers.append(numbers[-1] + (change.nbytes if line == change.line else 0))
        return {line: tuple(numbers) for line, numbers in sorted(lines.items(), key=lambda item: -max(item[1]))}

    def to_dict(self) -> dict[str, Any]:
        """`peak`, `live` and `changes`."""
        changes = [
            {"line": change.line, "operation": change.operation, "nbytes": change.nbytes} for change in self.changes
        ]
        return {"peak": self.peak, "live": list(self.live), "changes": changes}

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each line: how often and what it allocated, how much of it was alive at most and at the end."""
        made = [change for change in self.changes if change.nbytes > 0]
        times, total = Counter(change.line for change in made), Counter[str]()
        for change in made:
            total[change.line] += change.nbytes
        rows = tuple(
            (f"{times[line]}", f"{total[line]:,}", f"{max(live):,}", f"{live[-1]:,}", line)
            for line, live in self.live_by_line().items()
        )
        columns = ("allocations", "bytes", "most alive", "alive at the end", "line")
        notes = (f"most bytes alive at once: {self.peak:,}; at the end: {self.live[-1]:,}",)
        return (ReportTable(title="Allocations by line", columns=columns, rows=rows, notes=notes),)


@contextmanager
def record_memory() -> Iterator[MemoryHistory]:
    """Record what the calling thread allocates and releases inside the block, with the lines.

    Returns:
        The history, which is complete once the block has ended, also where it ended by an error.
    """
    history = MemoryHistory()

    def note(site: AllocationSite, nbytes: int) -> None:
        history.changes.append(MemoryChange(line=str(site.line), operation=site.operation, nbytes=nbytes))

    tracker = StorageTracker(note)
    try:
        with tracker:
            yield history
    finally:
        # What lives on dies later, and is no part of the block.
        tracker.stop()
