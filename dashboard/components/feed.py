"""What the page knows of a run: read once, then only what is new.

`SnapshotFeed.refresh` reads rows behind its cursors and gives a `Snapshot`. One feed serves every browser tab. When a
new attempt begins (a resumed run), older rows may be superseded: the feed then reads the run anew.

Of a long run the latest `RECENT` steps are held row by row; what lies before is thinned, at first by the database,
later here. So a run of any length takes the same memory and hands the same over to the browser. The first picture shows
the latest steps and an outline of the events; the past comes with the next ticks.
"""

import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.history import History
from components.typeset import typeset
from lab.charts import Series, make_series, thin
from lab.store import AttemptRow, EventRow, RunReader, RunSummary, ThinnedScalar

PAGE = 50_000
"""Rows read at one refresh at most, so that a page with a long run appears at once and fills up."""
EVENTS = 10_000
"""The same for events."""
MANY_EVENTS = 2_000
"""Events beyond which a first picture is drawn from an outline of them."""
RECENT = 5_000
"""Steps before the latest one that are held row by row: the longest window that the page offers."""
POINTS = 2_000
"""Points of each scalar that stand for all the rows before."""
FIRST = ("loss", "accuracy", "health", "temperature")
"""Scalars that are thinned first, since a person looks at them first."""
SHARED_SECONDS = 0.5
"""For so long what one browser tab has read is given to the others."""
THINNING_SECONDS = 0.25
"""Seconds after which a refresh leaves the scalars that are not thinned yet to the next one."""
PAST_EVENTS = 2_000
"""Events of the past that one refresh reads."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run at one moment. Two snapshots with equal `version` hold the same rows."""

    summary: RunSummary
    config: dict[str, Any]
    scalars: Mapping[str, Series]
    history: History
    """Its events, and what follows from them."""
    version: tuple[int, int, int, int]
    """Attempt, cursor of the scalars, number of events, scalars whose long past is still to be read."""
    complete: bool
    """False while rows of a long run are still being read."""
    cut: int | None = None
    """The step behind which this snapshot knows nothing; None where it knows all."""

    def at(self, step: int | None) -> "Snapshot":
        """What was known at `step`: rows of that step and of those before; the whole for None.

        All figures, numbers and sentences of a page take their rows from one snapshot: none can show another moment.
        """
        if step is None:
            return self
        known = {name: series.until(step) for name, series in self.scalars.items()}
        scalars = {name: series for name, series in known.items() if len(series)}
        history = self.history.until(step)
        last = self.summary.last_step
        summary = replace(self.summary, last_step=None if last is None else min(last, step))
        attempt, cursor, _, to_thin = self.version
        version = (attempt, cursor, len(history.events), to_thin)
        return replace(self, summary=summary, scalars=scalars, history=history, version=version, cut=step)

    @property
    def events(self) -> tuple[EventRow, ...]:
        """All events, in order of writing."""
        return self.history.events

    @property
    def last_step(self) -> int:
        """The latest step that any scalar or event has; 0 where there is none."""
        steps = [int(series.step[-1]) for series in self.scalars.values() if len(series)]
        return max([*steps, *(event.step for event in self.events[-1:])], default=0)

    def series(self, name: str) -> Series:
        """The scalar `name`; without points where the run has none."""
        return self.scalars.get(name) or make_series(name, [], [])

    def of(self, *kinds: str) -> tuple[EventRow, ...]:
        """The events of these kinds, in order of writing."""
        return self.history.of(*kinds)

    def latest(self, kind: str) -> EventRow | None:
        """The last event of that kind."""
        return self.history.latest(kind)

    @property
    def last_event_id(self) -> int:
        """Id of the latest event, 0 where there is none."""
        return self.history.last_id


class _Column:
    """Growing steps and values of one scalar; the array form is made once for each growth."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._step = array("q")
        self._value = array("d")
        self._head = make_series(name, [], [])
        self._series: Series | None = None

    def put_before(self, found: ThinnedScalar) -> None:
        """Put the thinned rows of the steps before all others in place."""
        rows = found.rows + self._head.rows
        head = _join(make_series(self._name, found.step, found.value), self._head)
        self._head = replace(head, thinned=len(head), each=rows / max(len(head), 1))
        self._series = None

    def add(self, step: int, value: float) -> None:
        self._step.append(step)
        self._value.append(value)
        self._series = None
        if len(self._step) > 2 * RECENT + POINTS:
            self._shorten()

    def extend(self, step: Sequence[int], value: Sequence[float]) -> None:
        """Add at most `RECENT` rows at once."""
        self._step.extend(step)
        self._value.extend(value)
        self._series = None

    def _shorten(self) -> None:
        """Thin all but the last `RECENT` rows, together with what was thinned before."""
        old = make_series(self._name, np.array(self._step[:-RECENT]), np.array(self._value[:-RECENT]))
        rows = self._head.rows + len(old)
        joined = _join(self._head, old)
        lost = joined.where(~np.isfinite(joined.value))
        lost = lost.where(np.arange(len(lost)) % max(1, len(lost) // POINTS) == 0)
        head = _join(thin(joined, POINTS), lost)
        order = np.argsort(head.step, kind="stable")
        head = make_series(self._name, head.step[order], head.value[order])
        self._head = replace(head, thinned=len(head), each=rows / max(len(head), 1))
        del self._step[:-RECENT], self._value[:-RECENT]

    def series(self) -> Series:
        if self._series is None:
            tail = make_series(self._name, np.array(self._step), np.array(self._value))
            self._series = replace(_join(self._head, tail), thinned=len(self._head), each=self._head.each)
        return self._series


def _join(before: Series, after: Series) -> Series:
    step, value = (np.concatenate(pair) for pair in ((before.step, after.step), (before.value, after.value)))
    return make_series(before.name, step, value)


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
        self._reader_tab, self._read_at = "", 0.0
        self._latest: Snapshot

    def _clear(self, attempts: tuple[AttemptRow, ...]) -> None:
        self._attempts = attempts
        self._columns: dict[str, _Column] = {}
        self._history = History()
        self._scalar_cursor = self._event_cursor = 0
        self._config: dict[str, Any] | None = None
        self._to_thin: list[str] = []
        self._before = self._until = 0
        self._past: list[EventRow] = []
        self._past_cursor = self._past_until = 0

    def refresh(self, tab: str = "", *, past: bool = True) -> Snapshot:
        """Read what is new and give the whole.

        Args:
            tab: the browser tab that asks. What was read for another tab less than `SHARED_SECONDS` ago is given again:
                a class on one run draws the same figures, which are made once.
            past: whether some of a long run's past is read as well; a page does without until it has drawn something.
        """
        with self._lock:
            if tab and self._reader_tab not in ("", tab) and time.monotonic() - self._read_at < SHARED_SECONDS:
                return self._latest
            self._latest = self._read(past)
            self._reader_tab, self._read_at = tab, time.monotonic()
            return self._latest

    def _read(self, past: bool) -> Snapshot:
        attempts = self._reader.attempts()
        if attempts != self._attempts:
            self._clear(attempts)
        if self._config is None:
            self._config = self._reader.config()
            self._look_at_length()
        rows = self._reader.scalars(after=self._scalar_cursor, limit=PAGE)
        for name, step, value in zip(rows.name, rows.step, rows.value, strict=True):
            self._column(name).add(step, value)
        self._scalar_cursor = rows.cursor
        events = self._reader.events(after=self._event_cursor, limit=EVENTS)
        self._history = self._history.then(map(typeset, events.events))
        self._event_cursor = events.cursor
        if past:
            self._thin()
            self._read_past()
        return Snapshot(
            summary=self._reader.summary(),
            config=self._config,
            scalars={name: column.series() for name, column in self._columns.items()},
            history=self._history,
            version=(len(attempts), self._scalar_cursor, len(self._history.events), len(self._to_thin)),
            complete=len(rows) < PAGE and len(events.events) < EVENTS and not self._to_thin and not self._past_until,
        )

    def _column(self, name: str) -> _Column:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = _Column(name)
        return column

    def _look_at_length(self) -> None:
        """Leave the rows before the last steps of a long run to the database, its many events to the next ticks."""
        last, step, events = self._reader.extent()
        if events > MANY_EVENTS:
            outline = self._reader.outline()
            self._history = History(map(typeset, outline.events))
            self._event_cursor = self._past_until = outline.cursor
        if last <= PAGE or step <= RECENT:
            return
        self._before, self._until = step - RECENT, last
        names = self._reader.names()
        # The last one is taken first.
        self._to_thin = sorted(names, key=lambda name: (name not in FIRST, name), reverse=True)
        for name in names:
            recent = self._reader.recent(name, since=self._before, until=last)
            self._column(name).extend(recent.step, recent.value)
        self._scalar_cursor = last

    def _thin(self) -> None:
        """Thin scalar after scalar, until none is left or the time is up."""
        end = time.monotonic() + THINNING_SECONDS
        while self._to_thin and time.monotonic() < end:
            name = self._to_thin.pop()
            self._column(name).put_before(
                self._reader.thinned(name, before=self._before, until=self._until, points=POINTS)
            )

    def _read_past(self) -> None:
        """Read on among the events that the outline stands for; once all are there they take its place."""
        if not self._past_until:
            return
        found = self._reader.events(after=self._past_cursor, limit=PAST_EVENTS)
        self._past += map(typeset, found.events)
        self._past_cursor = found.cursor
        if found.cursor >= self._past_until:
            known = [event for event in self._past if event.id <= self._past_until]
            self._history = History([*known, *(event for event in self._history.events if event.id > self._past_until)])
            self._past, self._past_until = [], 0
