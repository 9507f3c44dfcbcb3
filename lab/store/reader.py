"""The reading side of a run: what the dashboard, the notebooks and the commands hold.

    run = RunReader("runs/run-1")
    rows = run.scalars(names=("loss",))
    rows = run.scalars(after=rows.cursor, names=("loss",))    # only what came since

Read-only, also beside a running trainer, and after one that was killed. Each call opens the file, reads one snapshot
and closes it, so that a reader may be shared between threads and never holds the writer up. Rows that a later attempt
has superseded are left out.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from lab.base import ConfigError, StoreError, parse_json, require_range
from lab.store.process import STALE_SECONDS, ProcessIdentity
from lab.store.records import EVENT_RECORDS, Record
from lab.store.schema import DATABASE, FINITE, NAN, reading
from lab.store.translation import recipe_of, translate_config, translate_event

_LIVE_ROWS = "JOIN attempt a ON a.number = r.attempt WHERE (a.cutoff IS NULL OR r.step < a.cutoff)"
_LATEST_SCALAR = f"SELECT r.value FROM scalar r {_LIVE_ROWS} AND r.name = ? ORDER BY r.step DESC, r.id DESC LIMIT 1"
SHOWN_ACCURACY = "decision/accuracy"
"""Scalar that a list of runs shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalarRows:
    """Scalars as columns of equal length, in order of writing."""

    cursor: int
    """Pass it as `after` to get only what comes later."""
    id: tuple[int, ...]
    attempt: tuple[int, ...]
    step: tuple[int, ...]
    time: tuple[float, ...]
    """Seconds since 1970."""
    name: tuple[str, ...]
    value: tuple[float, ...]
    """NaN and infinities are what was written."""

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRow:
    """One event of a run."""

    id: int
    attempt: int
    step: int
    time: float
    """Seconds since 1970."""
    kind: str
    payload: dict[str, Any]

    def record(self) -> Record:
        """The event as the record of its kind.

        Raises:
            StoreError: a kind or a field that this version of the lab does not know.
        """
        try:
            return EVENT_RECORDS[self.kind](**self.payload)
        except (KeyError, TypeError) as error:
            raise StoreError(f"a known {self.kind} event", str(error), "read it with the lab that wrote it") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRows:
    """Events in order of writing, and the cursor to go on from."""

    cursor: int
    events: tuple[EventRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """One scalar in step buckets of equal, power-of-two width; bucket i covers steps [start[i], start[i] + width)."""

    width: int
    start: tuple[int, ...]
    count: tuple[int, ...]
    """Rows in the bucket, non-finite ones included."""
    nonfinite: tuple[int, ...]
    """NaN and infinite rows, which the three columns below leave out."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    """NaN where a bucket has no finite row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ThinnedScalar:
    """One scalar of a long run: its lowest and highest rows in step buckets of equal width, in order of steps."""

    step: tuple[int, ...]
    value: tuple[float, ...]
    """NaN stands for any value that is no finite number."""
    rows: int
    """Rows that these points stand for, themselves included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRow:
    """One attempt at a run."""

    number: int
    first_step: int
    cutoff: int | None
    """Rows of this attempt from this step on are superseded; None where none is."""
    started: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """A run at a glance."""

    name: str
    path: Path
    state: str
    """starting, running, finished, failed, stale or unreadable."""
    reason: str = ""
    """Why it is starting, stale or unreadable; what ended it; empty otherwise."""
    started: float = 0.0
    """Start of the first attempt, seconds since 1970; of an unreadable folder, its last change."""
    heartbeat_age: float = math.inf
    """Seconds since the writer's last heartbeat."""
    last_step: int | None = None
    accuracy: float | None = None
    """Latest on the selection split, in [0, 1]; None where none was read."""
    attempt: int = 0
    attempt_started: float = 0.0
    pid: int | None = None
    """The writer's process, on `host`."""
    host: str = ""
    write_errors: int = 0
    journal: str = ""
    """wal, or delete where the file system refused a write-ahead log."""


class RunReader:
    """A run folder, read-only.

    Raises:
        StoreError: no run there, a foreign or damaged file, or one of a newer schema; each method may raise it as well.
    """

    def __init__(self, run_dir: Path | str) -> None:
        self.run_dir = Path(run_dir)
        self._path = self.run_dir / DATABASE
        self._recipe: str | None = None
        with reading(self._path):
            pass

    def scalars(self, after: int = 0, names: tuple[str, ...] | None = None, limit: int = 100_000) -> ScalarRows:
        """Scalars with id > `after`, of all names or of `names`, at most `limit`."""
        require_range("limit", limit, 1)
        where, values = _name_filter("r.name", names)
        query = f"SELECT r.id, r.attempt, r.step, r.ts, r.name, r.value, r.flag FROM scalar r {_LIVE_ROWS}"
        with reading(self._path) as connection:
            rows, cursor = _rows_after(connection, "scalar", f"{query}{where}", values, after, limit)
        columns = tuple(zip(*rows, strict=True)) if rows else ((),) * 7
        value = tuple([math.nan if flag == NAN else value for value, flag in zip(columns[5], columns[6], strict=True)])
        return ScalarRows(
            cursor=cursor,
            id=columns[0],
            attempt=columns[1],
            step=columns[2],
            time=columns[3],
            name=columns[4],
            value=value,
        )

    def events(self, after: int = 0, kinds: tuple[str, ...] | None = None, limit: int = 10_000) -> EventRows:
        """Events with id > `after`, of all kinds or of `kinds`, at most `limit`, under today's names."""
        require_range("limit", limit, 1)
        where, values = _name_filter("r.kind", kinds)
        query = f"SELECT r.id, r.attempt, r.step, r.ts, r.kind, r.payload FROM event r {_LIVE_ROWS}"
        with reading(self._path) as connection, _as_written(self._path):
            rows, cursor = _rows_after(connection, "event", f"{query}{where}", values, after, limit)
            events = self._events(connection, rows)
        return EventRows(cursor=cursor, events=events)

    def outline(self, recent: int = 500) -> EventRows:
        """What tells most of a long run's events: the `recent` latest, all of rare kinds, and the latest of each kind.

        A kind is rare that has at most `recent` events. The cursor is behind all events, those left out too.
        """
        require_range("recent", recent, 1)
        live = f"WITH live AS (SELECT r.id, r.kind FROM event r {_LIVE_ROWS} AND r.id <= ?)"
        chosen = """id IN (SELECT id FROM live ORDER BY id DESC LIMIT ?)
            OR id IN (SELECT max(id) FROM live GROUP BY kind)
            OR kind IN (SELECT kind FROM live GROUP BY kind HAVING count(*) <= ?)"""
        ids = f"{live} SELECT id FROM live WHERE {chosen}"
        with reading(self._path) as connection, _as_written(self._path):
            newest = connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0]
            query = f"SELECT id, attempt, step, ts, kind, payload FROM event WHERE id IN ({ids}) ORDER BY id"
            rows = connection.execute(query, (newest, recent, recent)).fetchall()
            events = self._events(connection, rows)
        return EventRows(cursor=newest, events=events)

    def _events(self, connection: Connection, rows: list[tuple[Any, ...]]) -> tuple[EventRow, ...]:
        """Rows of the table of events, under today's names."""
        if rows and self._recipe is None:
            self._recipe = recipe_of(_stored_config(connection))
        return tuple([_event(row, self._recipe or "") for row in rows])

    def bucketed(self, name: str, buckets: int = 1000) -> Buckets:
        """The scalar `name` over the whole run in at most `buckets` buckets, as minimum, maximum and mean.

        Bounds lie at multiples of the width, so that a bucket keeps its place while the run grows.
        """
        require_range("buckets", buckets, 2)
        source = f"FROM scalar r {_LIVE_ROWS} AND r.name = ?"
        with reading(self._path) as connection, _as_written(self._path):
            first, last = connection.execute(f"SELECT min(r.step), max(r.step) {source}", (name,)).fetchone()
            width = 1
            while first is not None and last // width - first // width >= buckets:
                width *= 2
            finite = f"CASE WHEN r.flag = {FINITE} THEN r.value END"
            rows = connection.execute(
                f"""SELECT r.step / ? AS bucket, count(*), sum(r.flag != {FINITE}), min({finite}), max({finite}),
                avg({finite}) {source} GROUP BY bucket ORDER BY bucket""",
                (width, name),
            ).fetchall()
        number = [tuple([math.nan if row[i] is None else row[i] for row in rows]) for i in (3, 4, 5)]
        return Buckets(
            width=width,
            start=tuple([row[0] * width for row in rows]),
            count=tuple([row[1] for row in rows]),
            nonfinite=tuple([row[2] for row in rows]),
            low=number[0],
            high=number[1],
            mean=number[2],
        )

    def thinned(self, name: str, *, before: int, until: int, points: int = 2000) -> ThinnedScalar:
        """The scalar `name` in its rows of steps < `before` and ids <= `until`, as at most about `points` rows.

        Each bucket keeps its lowest and its highest row, and its first one that is no finite number. Bounds lie at
        multiples of the width, a power of two, so that what is thinned again at twice the width is the same.
        """
        require_range("points", points, 4)
        source = f"FROM scalar r {_LIVE_ROWS} AND r.name = ? AND r.step < ? AND r.id <= ?"
        chosen = (name, before, until)
        with reading(self._path) as connection, _as_written(self._path):
            ends = f"SELECT min(r.step), max(r.step), count(*), sum(r.flag != {FINITE}) {source}"
            first, last, rows, broken = connection.execute(ends, chosen).fetchone()
            if not rows:
                return ThinnedScalar(step=(), value=(), rows=0)
            width = 1
            # Two rows of a bucket are kept, its lowest and its highest.
            while 2 * (last // width - first // width + 1) > points:
                width *= 2
            found: set[tuple[int, float]] = set()
            for best in ("min", "max"):
                # The other columns of a row with one min() or max() are those of the row that has it.
                query = f"SELECT r.step, {best}(r.value) {source} AND r.flag = {FINITE} GROUP BY r.step / ?"
                found.update((int(step), float(value)) for step, value in connection.execute(query, (*chosen, width)))
            points_found = sorted(found)
            if broken:
                query = f"SELECT min(r.step) {source} AND r.flag != {FINITE} GROUP BY r.step / ?"
                lost = [(row[0], math.nan) for row in connection.execute(query, (*chosen, width))]
                points_found = sorted([*points_found, *lost], key=lambda row: row[0])
        return ThinnedScalar(
            step=tuple([row[0] for row in points_found]), value=tuple([row[1] for row in points_found]), rows=rows
        )

    def recent(self, name: str, *, since: int, until: int) -> ThinnedScalar:
        """Every row of the scalar `name` from step `since` on with ids <= `until`, in order of steps."""
        source = f"FROM scalar r {_LIVE_ROWS} AND r.name = ? AND r.step >= ? AND r.id <= ? ORDER BY r.step, r.id"
        with reading(self._path) as connection, _as_written(self._path):
            rows = connection.execute(f"SELECT r.step, r.value, r.flag {source}", (name, since, until)).fetchall()
        values = tuple([math.nan if row[2] == NAN else row[1] for row in rows])
        return ThinnedScalar(step=tuple([row[0] for row in rows]), value=values, rows=len(rows))

    def extent(self) -> tuple[int, int, int]:
        """Highest id of a scalar, its step, highest id of an event; 0 where there is none: a run grows at its end."""
        with reading(self._path) as connection, _as_written(self._path):
            row = connection.execute("SELECT id, step FROM scalar ORDER BY id DESC LIMIT 1").fetchone() or (0, 0)
            events = connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0]
        return row[0], row[1], events

    def names(self) -> tuple[str, ...]:
        """The names of all scalars, sorted."""
        # Jumps from name to name in the index; DISTINCT would walk over every row.
        query = """WITH RECURSIVE found(name) AS (
            SELECT min(name) FROM scalar
            UNION ALL SELECT (SELECT min(name) FROM scalar WHERE name > found.name) FROM found WHERE name IS NOT NULL)
            SELECT name FROM found WHERE name IS NOT NULL"""
        with reading(self._path) as connection:
            return tuple([row[0] for row in connection.execute(query)])

    def attempts(self) -> tuple[AttemptRow, ...]:
        """All attempts; a chart drops its points of attempt `a` from `a.cutoff` on."""
        query = "SELECT number, first_step, cutoff, started FROM attempt ORDER BY number"
        with reading(self._path) as connection:
            rows = connection.execute(query).fetchall()
        return tuple([AttemptRow(number=r[0], first_step=r[1], cutoff=r[2], started=r[3]) for r in rows])

    def config(self) -> dict[str, Any]:
        """The settings of the latest attempt, under today's names."""
        with reading(self._path) as connection, _as_written(self._path):
            return translate_config(_stored_config(connection))

    def state(self) -> str:
        """running, finished, failed, or stale: the writer's process is gone, or no heartbeat for ten seconds."""
        return self.summary().state

    def summary(self) -> RunSummary:
        """Name, state with its reason, age of the heartbeat, last step."""
        query = """SELECT state, text, started, heartbeat, last_step, number, pid, created, host, errors, journal,
            (SELECT min(started) FROM attempt) FROM attempt ORDER BY number DESC LIMIT 1"""
        with reading(self._path) as connection, _as_written(self._path):
            row = connection.execute(query).fetchone()
            state, reason, started, heartbeat, last_step, number, pid, created, host, errors, journal, first = row
            accuracy = connection.execute(_LATEST_SCALAR, (SHOWN_ACCURACY,)).fetchone()
            age = max(0.0, time.time() - float(heartbeat))
            if state == "running":
                state, reason = _judge(ProcessIdentity(pid=int(pid), created=float(created), host=str(host)), age)
            return RunSummary(
                name=self.run_dir.name,
                path=self.run_dir,
                state=str(state),
                reason=str(reason),
                started=float(first),
                heartbeat_age=age,
                last_step=None if last_step is None else int(last_step),
                accuracy=None if accuracy is None else math.nan if accuracy[0] is None else float(accuracy[0]),
                attempt=int(number),
                attempt_started=float(started),
                pid=int(pid),
                host=str(host),
                write_errors=int(errors),
                journal=str(journal),
            )


def _stored_config(connection: Connection) -> dict[str, Any]:
    row = connection.execute("SELECT config FROM attempt ORDER BY number DESC LIMIT 1").fetchone()
    config: dict[str, Any] = parse_json(row[0])
    return config


@contextmanager
def _as_written(path: Path) -> Iterator[None]:
    """Says in our words that rows are missing, or hold another kind of value than the writer puts there.

    Raises:
        StoreError: so it is.
    """
    try:
        yield
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise StoreError(
            f"the rows of a run in {path}",
            f"missing or changed ones ({type(error).__name__}: {error})",
            "take a back-up copy, or make a new run from its checkpoints with lab runs restore",
        ) from error


def _event(row: tuple[Any, ...], recipe: str) -> EventRow:
    payload = translate_event(row[4], parse_json(row[5]), recipe)
    return EventRow(id=row[0], attempt=row[1], step=row[2], time=row[3], kind=row[4], payload=payload)


def _judge(writer: ProcessIdentity, age: float) -> tuple[str, str]:
    if writer.alive() is False:
        return "stale", f"no heartbeat; {writer} ended without closing the run"
    if age > STALE_SECONDS:
        return "stale", f"no heartbeat from {writer} for {age:.0f} s"
    return "running", ""


def _name_filter(column: str, names: tuple[str, ...] | None) -> tuple[str, tuple[str, ...]]:
    if names is None:
        return "", ()
    if isinstance(names, str):
        raise ConfigError("names as a tuple of str", f"the single text {names!r}", "pass (name,)")
    return f" AND {column} IN ({', '.join('?' * len(names))})", tuple(names)


def _rows_after(
    connection: Connection, table: str, query: str, values: tuple[str, ...], after: int, limit: int
) -> tuple[list[tuple[Any, ...]], int]:
    newest = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
    bounded = f"{query} AND r.id > ? ORDER BY r.id LIMIT ?"
    rows = connection.execute(bounded, (*values, after, limit)).fetchall()
    # Rows of other names lie behind the last one found; a full page may have more of its own.
    return rows, rows[-1][0] if len(rows) == limit else max(newest, after)
