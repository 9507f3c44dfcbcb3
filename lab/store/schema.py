"""The run database: its tables, and how it is opened for writing and for reading.

One SQLite file for each run, one process that writes it. Covers the file alone: what the rows mean is in `writer` and
`reader`. The application id tells a run from any other SQLite file, `user_version` holds the schema's number: 1, 2
since a file can hold the events of a study, and 3 since it can hold proofs, images, predictions and layers. All have
the same tables, and all are read; a run that goes on is written under the present number.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from lab.base import StoreError

DATABASE = "events.db"
# "LABR" in ASCII; SQLite keeps it in the header of the file.
APPLICATION_ID = 0x4C414252
SCHEMA = 3
BUSY_SECONDS = 5.0
FINITE, NAN, PLUS_INFINITY, MINUS_INFINITY = 0, 1, 2, 3

# AUTOINCREMENT: an id is never given twice, so that it serves as a cursor.
# scalar.flag: SQLite stores NaN as NULL; the flag keeps what it was (FINITE, NAN, PLUS_INFINITY, MINUS_INFINITY).
# attempt.cutoff: rows of this attempt with step >= cutoff are superseded by a later attempt; NULL where none is.
TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE attempt (
        number INTEGER PRIMARY KEY, first_step INTEGER NOT NULL, cutoff INTEGER, config TEXT NOT NULL,
        state TEXT NOT NULL, text TEXT NOT NULL, started REAL NOT NULL, ended REAL,
        pid INTEGER NOT NULL, created REAL NOT NULL, host TEXT NOT NULL,
        heartbeat REAL NOT NULL, last_step INTEGER, errors INTEGER NOT NULL, journal TEXT NOT NULL)""",
    """CREATE TABLE scalar (
        id INTEGER PRIMARY KEY AUTOINCREMENT, attempt INTEGER NOT NULL, step INTEGER NOT NULL, ts REAL NOT NULL,
        name TEXT NOT NULL, value REAL, flag INTEGER NOT NULL)""",
    """CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT, attempt INTEGER NOT NULL, step INTEGER NOT NULL, ts REAL NOT NULL,
        kind TEXT NOT NULL, payload TEXT NOT NULL)""",
    "CREATE INDEX scalar_name_step ON scalar (name, step)",
)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection that may write and may be used from any one thread at a time; transactions are explicit."""
    connection = sqlite3.connect(
        _uri(path, "mode=rw"), uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    # With a write-ahead log NORMAL keeps the file whole after a power cut; FULL would wait for the disk at each batch.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Write schema `SCHEMA` into an empty file; the caller holds the transaction."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def choose_journal(connection: sqlite3.Connection) -> str:
    """Ask for a write-ahead log; where the file system refuses it, the rollback journal. The mode that holds."""
    try:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    except sqlite3.OperationalError:
        mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
    return str(mode)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A write transaction: committed at the end, rolled back on any exception."""
    # IMMEDIATE takes the write lock now and waits for it; a transaction that turns to writing later may fail without
    # waiting.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to the run database `path`, one snapshot for the whole block, closed at its end.

    Raises:
        StoreError: no such file, not a run database, a newer schema, or a file that SQLite cannot read.
    """
    if not os.path.exists(path):
        raise StoreError(f"a run in {path.parent}", f"no readable {path.name} there", "give the folder of a run")
    try:
        with closing(_connect_read_only(path)) as connection:
            connection.execute("BEGIN")
            _check(connection, path)
            yield connection
    # SQLite quotes what it found in its messages, and Python refuses those that are no UTF-8.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(
            f"a readable run database {path}",
            f"{type(error).__name__}: {error}",
            "check the file's permissions and that its -wal file lies beside it; take a back-up copy if it is damaged",
        ) from error


def _uri(path: Path, parameters: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{parameters}"


def _connect_read_only(path: Path) -> sqlite3.Connection:
    def connect(parameters: str) -> sqlite3.Connection:
        return sqlite3.connect(_uri(path, parameters), uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    connection = connect("mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # In a folder that nobody may write, SQLite cannot make the side files that a write-ahead log needs. Without a
        # log beside it the file is complete, and reading it as immutable is safe.
        if path.with_name(path.name + "-wal").exists():
            raise
        connection = connect("mode=ro&immutable=1")
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    identity = connection.execute("PRAGMA application_id").fetchone()[0]
    number = connection.execute("PRAGMA user_version").fetchone()[0]
    if identity != APPLICATION_ID:
        got = "an empty file" if path.stat().st_size == 0 else f"application id {identity:#x}"
        raise StoreError(f"a run database with application id {APPLICATION_ID:#x} in {path}", got, "give a run folder")
    if number > SCHEMA:
        raise StoreError(f"schema {SCHEMA} or older in {path}", f"schema {number}", "read it with a newer lab")
