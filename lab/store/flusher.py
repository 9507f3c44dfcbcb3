"""The background half of the writer: a queue of rows, one thread that puts them into the database in batches.

The trainer's side only appends to a deque. Each batch is one transaction that also carries the heartbeat. A batch that
cannot be written is kept and tried again with the next one; beyond `MAX_PENDING` rows the oldest are given up and
counted.
"""

import contextlib
import json
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from lab.store.records import AlertEvent
from lab.store.schema import FINITE, MINUS_INFINITY, NAN, PLUS_INFINITY, transaction

FLUSH_SECONDS = 0.25
FLUSH_ENTRIES = 2_000
HEARTBEAT_SECONDS = 1.0
MAX_PENDING = 1_000_000

# Rows of one statement. For each statement the thread gives Python's lock back and takes it again, and then the
# training thread has to wait for it: few large statements disturb a step less than many small ones.
CHUNKS = (256, 64, 16, 4, 1)

_INSERT_SCALAR = "INSERT INTO scalar (attempt, step, ts, name, value, flag) VALUES "
_INSERT_EVENT = "INSERT INTO event (attempt, step, ts, kind, payload) VALUES "
_HEARTBEAT = "UPDATE attempt SET heartbeat = ?, last_step = ?, errors = ? WHERE number = ?"
_END = "UPDATE attempt SET state = ?, text = ?, ended = ?, errors = ? WHERE number = ?"

ScalarRow = tuple[int, int, float, str, float, int]
EventRow = tuple[int, int, float, str, str]


@dataclass(frozen=True, slots=True)
class Scalars:
    """The scalars of one call: step, time, (name, value) pairs."""

    step: int
    time: float
    values: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """One event: step, time, kind, payload as JSON text."""

    step: int
    time: float
    kind: str
    payload: str


class Flusher:
    """Writes queued rows of one attempt; owns the connection until `close`."""

    def __init__(self, connection: sqlite3.Connection, attempt: int, path: Path) -> None:
        self.errors = 0
        self.lost = 0
        self.last_error = ""
        self.ended = False
        """Whether `close` has written the end of the attempt, where it was given one."""
        self._connection = connection
        self._attempt = attempt
        self._path = path
        self._identity = _identity(path)
        self.queue: deque[Scalars | QueuedEvent] = deque()
        """What waits to be written; the trainer's side appends, and wakes the thread at `FLUSH_ENTRIES`."""
        self._scalar_rows: list[ScalarRow] = []
        self._event_rows: list[EventRow] = []
        self._last_step: int | None = None
        self._heartbeat = 0.0
        self._reported = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        # A daemon: a run that nobody closed must not keep the process alive. The writer closes it at exit.
        self._thread = threading.Thread(target=self._run, name="run-writer", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Ask the thread to write now instead of at its next tick."""
        self._wake.set()

    def flush(self) -> bool:
        """Write all that is queued, in the calling thread, onto the disk; whether all of it is in the database.

        Batches of the thread itself outlast the end of the process alone: to wait for the disk each time is slow.
        """
        with self._lock:
            self._connection.execute("PRAGMA synchronous = FULL")
            try:
                return self._flush()
            finally:
                self._connection.execute("PRAGMA synchronous = NORMAL")

    def close(self, state: str | None = None, text: str = "") -> None:
        """Stop the thread, write the rest and, where `state` is given, the end of the attempt; close the connection."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        with self._lock:
            # The first flush may leave an alert about earlier failures, which the second one writes.
            written = self._flush() and (not self._event_rows or self._flush())
            if not written:
                self.lost += len(self._scalar_rows) + len(self._event_rows)
            # Once more, as rows are tried again: nobody comes back to this line later.
            self.ended = state is None or self._end_attempt(state, text) or self._end_attempt(state, text)
            self._leave_one_file()
            self._connection.close()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            with self._lock:
                beat_due = time.monotonic() - self._heartbeat >= HEARTBEAT_SECONDS
                if self.queue or self._scalar_rows or self._event_rows or beat_due:
                    self._flush()

    def _flush(self) -> bool:
        self._drain()
        # SQLite writes on into a file that has lost its name, and nobody would ever read it.
        if self._identity is None or _identity(self._path) != self._identity:
            self._count(f"{self._path} was removed or replaced while the run wrote it")
            return False
        try:
            with transaction(self._connection):
                self._insert(_INSERT_SCALAR, self._scalar_rows)
                self._insert(_INSERT_EVENT, self._event_rows)
                beat = (time.time(), self._last_step, self.errors, self._attempt)
                self._connection.execute(_HEARTBEAT, beat)
        except sqlite3.Error as error:
            self._count(f"{type(error).__name__}: {error}")
            return False
        self._scalar_rows, self._event_rows = [], []
        self._heartbeat = time.monotonic()
        if self.errors > self._reported:
            self._event_rows.append(self._alert())
        return True

    def _insert(self, statement: str, rows: Sequence[ScalarRow | EventRow]) -> None:
        begin = 0
        for size in CHUNKS:
            while len(rows) - begin >= size:
                chunk = rows[begin : begin + size]
                row = f"({', '.join('?' * len(chunk[0]))})"
                self._connection.execute(statement + ", ".join([row] * size), list(chain.from_iterable(chunk)))
                begin += size

    def _drain(self) -> None:
        # As many as wait now: the trainer goes on appending while this thread takes.
        for _ in range(len(self.queue)):
            entry = self.queue.popleft()
            self._last_step = entry.step
            if isinstance(entry, QueuedEvent):
                self._event_rows.append((self._attempt, entry.step, entry.time, entry.kind, entry.payload))
                continue
            for name, value in entry.values:
                self._scalar_rows.append((self._attempt, entry.step, entry.time, name, value, _flag(value)))

    def _count(self, error: str) -> None:
        self.errors += 1
        self.last_error = error
        for rows in (self._scalar_rows, self._event_rows):
            surplus = len(rows) - MAX_PENDING
            if surplus > 0:
                del rows[:surplus]
                self.lost += surplus

    def _alert(self) -> EventRow:
        self._reported = self.errors
        text = f"{self.errors} writes failed ({self.last_error}); rows given up: {self.lost}"
        alert = AlertEvent(level="warning", title="The run store could not write", text=text)
        return self._attempt, self._last_step or 0, time.time(), alert.kind, json.dumps(asdict(alert))

    def _end_attempt(self, state: str, text: str) -> bool:
        try:
            self._connection.execute(_END, (state, text, time.time(), self.errors, self._attempt))
        except sqlite3.Error as error:
            self._count(f"{type(error).__name__}: {error}")
            return False
        return True

    def _leave_one_file(self) -> None:
        # A database without a log can be read in a folder that nobody may write. While a reader holds the file this
        # is refused, and the log stays beside it.
        self._connection.execute("PRAGMA busy_timeout = 200")
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("PRAGMA journal_mode = DELETE")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of the file that has the name `path` now."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _flag(value: float) -> int:
    if math.isfinite(value):
        return FINITE
    if math.isnan(value):
        return NAN
    return PLUS_INFINITY if value > 0 else MINUS_INFINITY
