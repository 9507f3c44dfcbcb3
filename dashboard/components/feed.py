"""What the page knows of a run: read once, then only what is new.

`RunFeed.refresh` reads rows behind its cursors and gives a `Snapshot`. One feed serves every browser tab. When a new
attempt begins (a resumed run), older rows may be superseded: the feed then reads the run anew.
"""

import threading
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lab.charts import Series, make_series
from lab.store import AttemptRow, EventRow, RunReader, RunSummary

PAGE = 50_000
"""Rows read at one refresh at most, so that a page with a long run appears at once and fills up."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run at one moment. Two snapshots with equal `version` hold the same rows."""

    summary: RunSummary
    config: dict[str, Any]
    scalars: Mapping[str, Series]
    events: tuple[EventRow, ...]
    version: tuple[int, int, int]
    """Attempt, cursor of the scalars, cursor of the events."""
    complete: bool
    """False while rows of a long run are still being read."""

    def series(self, name: str) -> Series:
        """The scalar `name`; without points where the run has none."""
        return self.scalars.get(name) or make_series(name, [], [])

    def of(self, *kinds: str) -> tuple[EventRow, ...]:
        """The events of these kinds, in order of writing."""
        return tuple(event for event in self.events if event.kind in kinds)

    def latest(self, kind: str) -> EventRow | None:
        """The last event of that kind."""
        return next((event for event in reversed(self.events) if event.kind == kind), None)

    @property
    def last_event_id(self) -> int:
        """Id of the latest event, 0 where there is none."""
        return self.events[-1].id if self.events else 0


class _Column:
    """Growing steps and values of one scalar; the array form is made once for each growth."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._step = array("q")
        self._value = array("d")
        self._series: Series | None = None

    def add(self, step: int, value: float) -> None:
        self._step.append(step)
        self._value.append(value)
        self._series = None

    def series(self) -> Series:
        if self._series is None:
            self._series = make_series(self._name, np.array(self._step), np.array(self._value))
        return self._series


class SnapshotFeed:
    """The rows of one run, kept up to date; may be shared between threads.

    Raises:
        StoreError: no run in that folder or one that cannot be read; `refresh` may raise it as well.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._reader = RunReader(run_dir)
        self._lock = threading.Lock()
        self._clear(())

    def _clear(self, attempts: tuple[AttemptRow, ...]) -> None:
        self._attempts = attempts
        self._columns: dict[str, _Column] = {}
        self._events: tuple[EventRow, ...] = ()
        self._scalar_cursor = self._event_cursor = 0
        self._config: dict[str, Any] | None = None

    def refresh(self) -> Snapshot:
        """Read what is new and give the whole."""
        with self._lock:
            attempts = self._reader.attempts()
            if attempts != self._attempts:
                self._clear(attempts)
            if self._config is None:
                self._config = self._reader.config()
            rows = self._reader.scalars(after=self._scalar_cursor, limit=PAGE)
            for name, step, value in zip(rows.name, rows.step, rows.value, strict=True):
                column = self._columns.get(name)
                if column is None:
                    column = self._columns[name] = _Column(name)
                column.add(step, value)
            self._scalar_cursor = rows.cursor
            events = self._reader.events(after=self._event_cursor)
            self._events += events.events
            self._event_cursor = events.cursor
            return Snapshot(
                summary=self._reader.summary(),
                config=self._config,
                scalars={name: column.series() for name, column in self._columns.items()},
                events=self._events,
                version=(len(attempts), self._scalar_cursor, self._event_cursor),
                complete=len(rows) < PAGE,
            )
