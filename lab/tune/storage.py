"""Where a study is kept: a journal file, SQLite, or PostgreSQL for several machines; all of them Optuna's own.

A journal and a SQLite file belong to one supervisor at a time, by a lock that the operating system frees when its
holder dies. Whoever has it may repair what a dead one left: half a line at the end of the journal (a copy is kept and
named), and the journal's lock. PostgreSQL is shared; there an advisory lock of the server guards what must be one step.

Nothing is written before the storage has been found to be one.
"""

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from lab.base import ConfigError, StudyError
from lab.store import ProcessIdentity

SPELLING = "journal:FILE, sqlite:FILE or postgresql://USER@HOST/DATABASE"
CONNECT_SECONDS = 5
_LOCK = ".lock"
# A writer that lives holds the journal's lock for the milliseconds of one write.
_LIVE_SECONDS = 0.3
_ADVISORY_KEY = 0x4C41_4254


@dataclass(frozen=True, kw_only=True)
class StorageAddress:
    """Where a study is kept, as it was spelled."""

    kind: str
    """journal, sqlite or postgresql."""
    path: Path = field(default_factory=Path)
    """File of a journal or a SQLite database."""
    url: str = ""
    """URL of a PostgreSQL database, with SQLAlchemy's driver."""

    @classmethod
    def parse(cls, text: str, default: Path) -> "StorageAddress":
        """The address that `text` spells; a journal at `default` where it is empty.

        Raises:
            ConfigError: another spelling.
        """
        if not text:
            return cls(kind="journal", path=default)
        kind, _, rest = text.partition(":")
        if kind == "journal" and rest:
            return cls(kind=kind, path=Path(rest))
        if kind == "sqlite" and rest.removeprefix("///"):
            return cls(kind=kind, path=Path(rest.removeprefix("///")))
        if kind.split("+")[0] in ("postgresql", "postgres") and rest.startswith("//"):
            return cls(kind="postgresql", url=f"postgresql+psycopg:{rest}")
        raise ConfigError(SPELLING, repr(text), "correct --storage")

    @property
    def shared(self) -> bool:
        """Whether several supervisors may work on it at once."""
        return self.kind == "postgresql"

    def __str__(self) -> str:
        if self.shared:
            return sqlalchemy.make_url(self.url).render_as_string(hide_password=True).replace("+psycopg", "")
        return f"{self.kind}:{self.path}"

    def check(self) -> None:
        """Refuse a file that is no such storage, and a server that does not answer; writes nothing.

        Raises:
            StudyError: so it is.
        """
        if self.shared:
            with _reaching(self), contextlib.closing(_engine(self).connect()) as connection:
                connection.execute(sqlalchemy.text("SELECT 1"))
        elif self.path.is_dir():
            raise StudyError(f"a file for the study at {self.path}", "a folder", "give another --storage")
        elif self.path.exists() and self.path.stat().st_size > 0:
            (_check_journal if self.kind == "journal" else _check_sqlite)(self.path)


@dataclass(frozen=True, kw_only=True)
class OpenStorage:
    """A storage that this process may write."""

    address: StorageAddress
    storage: BaseStorage
    repairs: tuple[str, ...]
    """What was put right at the opening, one sentence each."""
    engine: Any = None
    """SQLAlchemy's, of PostgreSQL."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One supervisor at a time among all machines; the server frees the lock of one that dies."""
        if not self.address.shared:
            yield
            return
        with self.engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_ADVISORY_KEY})"))
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text(f"SELECT pg_advisory_unlock({_ADVISORY_KEY})"))


@contextlib.contextmanager
def open_storage(address: StorageAddress) -> Iterator[OpenStorage]:
    """The storage at `address`, made where it is missing, closed at the end.

    Raises:
        StudyError: another supervisor has it, it is no such storage, or it cannot be reached.
    """
    address.check()
    with contextlib.ExitStack() as stack:
        repairs: list[str] = []
        if not address.shared:
            stack.enter_context(_owned(address.path))
        if address.kind == "journal":
            repairs += [*_free_lock(address.path), *_repair_tail(address.path)]
            yield OpenStorage(
                address=address,
                storage=JournalStorage(JournalFileBackend(str(address.path))),
                repairs=tuple(repairs),
            )
            return
        with _reaching(address):
            storage = _database(address)
        # Called in the other order: the session gives its connection back to a pool that is still open.
        stack.callback(storage.engine.dispose)
        stack.callback(storage.remove_session)
        yield OpenStorage(address=address, storage=get_storage(storage), repairs=tuple(repairs), engine=storage.engine)


def _database(address: StorageAddress) -> RDBStorage:
    if address.shared:
        arguments = {"connect_args": {"connect_timeout": CONNECT_SECONDS}, "pool_pre_ping": True}
        return RDBStorage(address.url, engine_kwargs=arguments)
    storage = RDBStorage(f"sqlite:///{address.path.absolute()}")
    sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
    # The connections that made the tables are left; later ones are set up by the listener.
    storage.remove_session()
    storage.engine.dispose()
    return storage


def _write_ahead(connection: Any, record: Any) -> None:
    """Let a commit go without waiting for the disk: the death of a process loses nothing, and the file stays whole."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")


def _engine(address: StorageAddress) -> Any:
    return sqlalchemy.create_engine(
        address.url, connect_args={"connect_timeout": CONNECT_SECONDS}, poolclass=sqlalchemy.NullPool
    )


@contextlib.contextmanager
def _reaching(address: StorageAddress) -> Iterator[None]:
    """Says in one line that a database cannot be reached or is of another version of Optuna."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
        text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        hint = "start the server or correct --storage" if address.shared else "give another --storage"
        raise StudyError(f"a storage of Optuna at {address}", text, hint) from error


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Hold the file for this process alone; the system frees it when the process dies, however it dies.

    Raises:
        StudyError: another process has it.
    """
    place = path.with_name(f"{path.name}.owner")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = place.open("a+", encoding="utf-8")
    except OSError as error:
        raise StudyError(
            f"a folder of the study that can be written: {path.parent}", str(error), "choose another"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            hint = "wait for it or stop it; several machines share a study on PostgreSQL"
            raise StudyError(f"{path} for one supervisor at a time", holder, hint) from error
        handle.truncate(0)
        handle.write(str(ProcessIdentity.current()))
        handle.flush()
        yield


def _free_lock(path: Path) -> list[str]:
    """Remove the journal's lock of a writer that is dead; only the owner of the journal may ask.

    A supervisor that lives would still own the journal. What else may write there, such as optuna-dashboard, holds the
    lock for one write.
    """
    lock = Path(f"{path}{_LOCK}")
    before = _mark(lock)
    if before is None:
        return []
    time.sleep(_LIVE_SECONDS)
    if _mark(lock) != before:
        return []
    lock.unlink(missing_ok=True)
    return [f"removed the lock {lock.name}, whose holder is dead"]


def _mark(lock: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(lock)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _repair_tail(path: Path) -> list[str]:
    """Cut off half a line that a killed writer left at the end; the cut bytes are kept beside the journal."""
    if not path.exists():
        return []
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    tail = data[end:]
    if not tail:
        return []
    copy = next(p for n in range(1, 10_000) if not (p := path.with_name(f"{path.name}.torn-{n}")).exists())
    copy.write_bytes(tail)
    with path.open("r+b") as handle:
        handle.truncate(end)
        os.fsync(handle.fileno())
    return [f"cut {len(tail)} bytes of an unfinished line off the end of {path.name}; they are kept in {copy.name}"]


def _check_journal(path: Path) -> None:
    """Raise unless every whole line is a record of a journal."""
    hint = "give the journal of a study with --storage, or take a back-up copy"
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                # The first line of a file that is none of ours may be its only one.
                if number == 1:
                    raise StudyError(f"a journal of Optuna in {path}", "a foreign file", hint)
                return
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                got = "a foreign file" if number == 1 else f"no record in line {number}"
                raise StudyError(f"a journal of Optuna in {path}", got, hint) from error
            if not isinstance(record, dict) or not {"op_code", "worker_id"} <= record.keys():
                got = "a foreign file" if number == 1 else f"no record in line {number}"
                raise StudyError(f"a journal of Optuna in {path}", got, hint)


def _check_sqlite(path: Path) -> None:
    """Raise unless the file is a database of Optuna, or an empty one."""
    try:
        with closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise StudyError(f"a study's SQLite file at {path}", str(error), "give another --storage") from error
    if tables and not {"studies", "trials"} <= tables:
        raise StudyError(f"a study's SQLite file at {path}", "a foreign database", "give another --storage")
