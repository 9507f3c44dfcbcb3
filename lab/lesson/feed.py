"""A run as it grows: everything read so far, and what came since.

Covers one run, read incrementally by the store's cursors. An attempt that supersedes steps of an earlier one makes the
feed read anew, so that no superseded point stays.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from lab.base import ReportTable, TrainingError
from lab.charts import Series, make_series, mutation_changes
from lab.lesson.report import LessonReport
from lab.lesson.run import RunHandle
from lab.store import EventRow, RunReader, RunSummary

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 24
PAGE = 50_000
"""Largest number of scalars that one `refresh` reads."""
WAITING = "waiting"
"""State of a run whose process has started and has not written yet."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RunSnapshot(LessonReport):
    """One moment of a run as text."""

    name: str
    state: str
    """waiting, running, finished, failed or stale."""
    reason: str
    """Why it failed or is stale; empty otherwise."""
    step: int | None
    phase: str
    """Name of the latest phase; empty before the first."""
    series: tuple[Series, ...]
    mutations: tuple[str, ...] = ()
    """One line for each."""

    def to_dict(self) -> dict[str, Any]:
        """State, step, phase, mutations; of each curve the number of points, first and last value."""
        curves = {
            curve.name: {
                "points": len(curve),
                "first": float(curve.value[0]) if len(curve) else None,
                "last": curve.last,
            }
            for curve in self.series
        }
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "step": self.step,
            "phase": self.phase,
            "curves": curves,
            "mutations": list(self.mutations),
        }

    def heading(self) -> str:
        """State, step and phase in one line."""
        where = "no step yet" if self.step is None else f"step {self.step}"
        parts = [f"run {self.name}", self.state, where, self.phase.replace("_", " "), self.reason]
        return " · ".join(part for part in parts if part)

    def tables(self) -> tuple[ReportTable, ...]:
        """One line for each curve, drawn in characters; the mutations below."""
        rows = tuple(
            (
                curve.name,
                str(len(curve)),
                f"{curve.value[0]:.4g}" if len(curve) else "-",
                _spark(curve),
                "-" if curve.last is None else f"{curve.last:.4g}",
            )
            for curve in self.series
        )
        columns = ("curve", "points", "first", "course", "last")
        return (ReportTable(title=self.heading(), columns=columns, rows=rows, notes=self.mutations),)


def _spark(curve: Series) -> str:
    """The course of a curve as at most `SPARK_WIDTH` blocks, each the mean of its share of the points."""
    values = curve.finite.value
    if not len(values):
        return ""
    cells = min(SPARK_WIDTH, len(values))
    bounds = [round(i * len(values) / cells) for i in range(cells + 1)]
    means = [float(values[a:b].mean()) for a, b in pairwise(bounds)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(SPARKS[round((mean - low) / span * (len(SPARKS) - 1))] for mean in means)


@dataclass(frozen=True, kw_only=True)
class RunVersion:
    """Two equal versions of a feed hold the same."""

    attempt: int
    scalar_cursor: int
    event_cursor: int
    state: str


@dataclass
class _Columns:
    step: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)


class RunFeed:
    """What has been read of a run; `refresh` adds what came since."""

    def __init__(self, run: RunHandle | Path | str, names: tuple[str, ...]) -> None:
        """Follow the scalars `names` and all events of `run`.

        Raises:
            StoreError: `run` is a folder without a run. A handle may be given before its process writes.
        """
        self._handle = run if isinstance(run, RunHandle) else None
        self.run_dir = run.run_dir if isinstance(run, RunHandle) else Path(run)
        self.names = names
        self.events: list[EventRow] = []
        self._reader = None if isinstance(run, RunHandle) else RunReader(self.run_dir)
        self._summary: RunSummary | None = None
        self._attempt = 0
        self._clear()

    def _clear(self) -> None:
        self._columns = {name: _Columns() for name in self.names}
        self.events.clear()
        self._scalar_cursor = self._event_cursor = 0

    def refresh(self) -> bool:
        """Read what came since the last time; whether the run may still bring more.

        Raises:
            StoreError: the run became unreadable.
            TrainingError: the process ended without writing a run.
        """
        if self._reader is None and self._handle is not None:
            self._reader = self._handle.reader()
        if self._reader is None:
            return True
        # The summary comes first: rows that are written behind a final state do not exist.
        self._summary = self._reader.summary()
        if self._summary.attempt != self._attempt:
            self._attempt = self._summary.attempt
            self._clear()
        rows = self._reader.scalars(after=self._scalar_cursor, names=self.names, limit=PAGE)
        self._scalar_cursor = rows.cursor
        for name, step, value in zip(rows.name, rows.step, rows.value, strict=True):
            self._columns[name].step.append(step)
            self._columns[name].value.append(value)
        found = self._reader.events(after=self._event_cursor)
        self._event_cursor = found.cursor
        self.events += found.events
        return self._summary.state == "running" or len(rows) == PAGE

    @property
    def version(self) -> RunVersion:
        """Changes with whatever `refresh` reads."""
        return RunVersion(
            attempt=self._attempt,
            scalar_cursor=self._scalar_cursor,
            event_cursor=self._event_cursor,
            state=self.state,
        )

    @property
    def state(self) -> str:
        """waiting, running, finished, failed or stale, as of the last `refresh`."""
        return WAITING if self._summary is None else self._summary.state

    @property
    def step(self) -> int | None:
        """Latest step of any curve, None before the first."""
        steps = [columns.step[-1] for columns in self._columns.values() if columns.step]
        return max(steps, default=None)

    def series(self, name: str) -> Series:
        """One of the followed scalars over the steps.

        Raises:
            TrainingError: it is not followed.
        """
        if name not in self._columns:
            raise TrainingError(f"one of {', '.join(self.names)}", repr(name), "name it when you begin to follow")
        columns = self._columns[name]
        return make_series(name, columns.step, columns.value)

    def count(self, kind: str, **fields: Any) -> int:
        """Number of events of `kind` with these values, for instance `count("mutation", status="applied")`."""
        found = (event.payload for event in self.events if event.kind == kind)
        return sum(all(payload.get(key) == value for key, value in fields.items()) for payload in found)

    def latest(self, kind: str) -> dict[str, Any] | None:
        """Payload of the latest event of `kind`."""
        return next((event.payload for event in reversed(self.events) if event.kind == kind), None)

    def snapshot(self) -> RunSnapshot:
        """This moment as text."""
        changes = mutation_changes(self.events)
        lines = [f"{c.heading}: {'; '.join(c.lines)}; {c.difference_text}" for c in changes]
        return RunSnapshot(
            name=self.run_dir.name,
            state=self.state,
            reason="" if self._summary is None else self._summary.reason,
            step=self.step,
            phase=(self.latest("phase") or {}).get("phase", ""),
            series=tuple(self.series(name) for name in self.names),
            mutations=tuple(lines),
        )
