"""The writing side of a run: what the trainer holds.

    with RunWriter("runs", "run-1", config={"epochs": 3}) as run:
        run.scalars(step, {"loss": loss, "accuracy": accuracy})
        run.record(step, TemperatureEvent(temperature=2.0, schedule="linear"))

Rows go through a queue to a background thread; a call costs a few microseconds. A fault while writing never stops the
training: it is counted in `errors` and becomes an alert. Wrong use (a name that is no text, a step that goes back, an
unknown kind of event) raises at once. Not covered: files other than the database, such as checkpoints.
"""

import atexit
import json
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from lab.base import ConfigError, StoreError
from lab.store.attempt import continue_run, create_run, require_run_name
from lab.store.control import poll
from lab.store.flusher import FLUSH_ENTRIES, Flusher, QueuedEvent, Scalars
from lab.store.records import EVENT_RECORDS, AlertEvent, ControlEvent, Record
from lab.store.schema import DATABASE

SLOWER = "writer and readers wait for one another. Choose a local folder with --save-dir."
_URGENT = frozenset({"phase", "mutation", "rollback", "alert", "control"})
_LARGEST_STEP = 2**63 - 1


class RunWriter:
    """The one writer of the run `root/name`: scalars, events and the end of the run.

    Arguments:
        root: folder that holds the runs; made where it is missing.
        name: folder of this run: letters, digits, `.`, `_`, `-`, at most 100.
        config: JSON-ready settings, kept in the database and, for people to read, in `config.json`. With `resume`,
            None keeps the settings of the attempt before.
        resume: go on with an existing run as its next attempt.
        step: with `resume`, the first step of the new attempt; rows of older attempts from this step on are superseded.

    Commands that were sent before the writer began are refused, each by a control event.

    Raises:
        ConfigError: an illegal name, or `resume` without `step`.
        StoreError: the run exists (without `resume`), does not exist (with it), has a live writer, or cannot be made.
    """

    def __init__(
        self,
        root: Path | str,
        name: str,
        config: Mapping[str, Any] | None = None,
        *,
        resume: bool = False,
        step: int | None = None,
    ) -> None:
        require_run_name(name)
        if resume != (step is not None):
            raise ConfigError(
                "step together with resume", f"resume={resume}, step={step}", "give the first step of a resumed run"
            )
        if step is not None and not (type(step) is int and 0 <= step <= _LARGEST_STEP):
            raise ConfigError("step as int >= 0", repr(step), "give the first step of the resumed run")
        self.run_dir = Path(root) / name
        self._step = step or 0
        self._open = True
        self._pid = os.getpid()
        text = None if config is None else _encode(dict(config), "config")
        if step is None:
            connection, attempt = create_run(self.run_dir, text or "{}")
        else:
            connection, attempt = continue_run(self.run_dir, text, step)
        self.attempt = attempt.number
        self.journal = attempt.journal
        self._flusher = Flusher(connection, attempt.number, self.run_dir / DATABASE)
        self._queue = self._flusher.queue
        atexit.register(self._leave)
        if self.journal != "wal":
            text = f"The file system of {self.run_dir} refused a write-ahead log, which needs a local disk: {SLOWER}"
            self.record(self._step, AlertEvent(level="warning", title="No write-ahead log", text=text))
        for command in poll(self.run_dir):
            reason = "sent before this attempt began"
            refusal = ControlEvent(command=command.name, arguments=command.arguments, done=False, text=reason)
            self.record(self._step, refusal)

    @property
    def errors(self) -> int:
        """Writes that failed so far; their rows are tried again."""
        return self._flusher.errors

    @property
    def lost(self) -> int:
        """Rows that were given up."""
        return self._flusher.lost

    @property
    def last_error(self) -> str:
        """Text of the latest failed write, empty where none failed."""
        return self._flusher.last_error

    def scalar(self, step: int, name: str, value: float) -> None:
        """Keep one number; NaN and infinities are kept as what they are."""
        self.scalars(step, {name: value})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Keep several numbers of one step; `float(value)` is taken at once, so a device tensor is waited for here.

        Raises:
            StoreError: a step below the one before, a name that is no text, a value that is no number, a closed writer.
        """
        if not self._open or type(step) is not int or not self._step <= step <= _LARGEST_STEP:
            self._refuse_step(step)
        pairs = []
        for name, value in values.items():
            if type(name) is not str or isinstance(value, str):
                raise StoreError("text as name and a number as value", f"{name!r}: {value!r}", "pass {str: float}")
            try:
                pairs.append((name, float(value)))
            except (TypeError, ValueError, OverflowError) as error:
                raise StoreError(f"a number as {name}", str(error), "pass a float or a 0-d tensor") from error
        self._step = step
        self._put(Scalars(step, time.time(), pairs))

    def _put(self, entry: Scalars | QueuedEvent) -> None:
        self._queue.append(entry)
        if len(self._queue) >= FLUSH_ENTRIES:
            self._flusher.wake()

    def event(self, step: int, kind: str, payload: Mapping[str, Any]) -> None:
        """Keep one event; `payload` has the fields of the record of its kind.

        Raises:
            StoreError: unknown kind, a missing or unknown field, a payload that is not JSON-ready, or as for `scalars`.
        """
        if not self._open or type(step) is not int or not self._step <= step <= _LARGEST_STEP:
            self._refuse_step(step)
        _check_event(kind, payload)
        text = _encode(dict(payload), f"payload of a {kind} event")
        self._step = step
        self._put(QueuedEvent(step, time.time(), kind, text))
        if kind in _URGENT:
            self._flusher.wake()

    def record(self, step: int, record: Record) -> None:
        """Keep one event given as its record."""
        self.event(step, record.kind, asdict(record))

    def flush(self) -> bool:
        """Write all that is queued to the disk before returning; whether all of it is in the database."""
        return self._flusher.flush()

    def finish(self, state: str = "finished", text: str = "") -> None:
        """End the run as `finished` or `failed` and close the file; a second call does nothing.

        Warns where rows or the end itself could not be written.
        """
        if state not in ("finished", "failed"):
            raise StoreError("state finished or failed", repr(state), "end the run with one of these")
        self._close(state, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.finish("failed", f"{kind.__name__}: {error}")

    def _close(self, state: str | None, text: str = "") -> None:
        # A forked child (a data loader's worker) holds a copy of this object, but neither the thread nor the file.
        if not self._open or os.getpid() != self._pid:
            return
        self._open = False
        atexit.unregister(self._leave)
        self._flusher.close(state, text)
        if self.lost:
            message = f"{self.lost} rows of {self.run_dir} could not be written ({self.last_error})"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        elif not self._flusher.ended:
            message = f"{self.run_dir} has ended as {state}, which could not be written ({self.last_error})"
            warnings.warn(f"{message}; it is shown as stale", RuntimeWarning, stacklevel=3)

    def _leave(self) -> None:
        self._close(None)

    def _refuse_step(self, step: object) -> NoReturn:
        if not self._open:
            raise StoreError(f"an open run {self.run_dir}", "one that has ended", "resume it with a new RunWriter")
        raise StoreError(
            f"a step as int, {self._step} or later", f"{step!r} ({type(step).__name__})", "steps must not decrease"
        )


def _encode(value: dict[str, Any], what: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{what} of numbers, strings, lists and dicts", str(error), "convert it first") from error


def _check_event(kind: str, payload: Mapping[str, Any]) -> None:
    if kind not in EVENT_RECORDS:
        raise StoreError(f"a kind of event among {', '.join(EVENT_RECORDS)}", repr(kind), "choose one of these")
    known = fields(EVENT_RECORDS[kind])
    required = {field.name for field in known if field.default is MISSING and field.default_factory is MISSING}
    missing = sorted(required - payload.keys())
    unknown = sorted(set(payload) - {field.name for field in known}, key=str)
    if missing or unknown:
        raise StoreError(
            f"the fields of {EVENT_RECORDS[kind].__name__}",
            f"missing {missing}, unknown {unknown}",
            f"build the payload of a {kind} event from its record",
        )
