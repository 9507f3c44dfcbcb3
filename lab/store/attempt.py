"""How an attempt at a run begins: a new run, or the next attempt at an existing one, never beside a live writer."""

import os
import re
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from lab.base import ConfigError, StoreError
from lab.store.process import STALE_SECONDS, ProcessIdentity
from lab.store.schema import DATABASE, SCHEMA, choose_journal, create_tables, open_for_writing, reading, transaction

CONFIG = "config.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class RunAttempt:
    """One attempt at a run: its number, counted from 1, its first step, the journal mode that SQLite granted."""

    number: int
    first_step: int
    journal: str


def require_run_name(name: str) -> None:
    """Refuse a name that is no plain name of a folder.

    Raises:
        ConfigError: other characters than letters, digits, `.`, `_`, `-`, or more than 100.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("a run name of letters, digits, '.', '_', '-'", repr(name), "choose such a name")


def check_new_run(root: Path | str, name: str) -> None:
    """Refuse a new run `root/name` before any work is done for it; nothing is reserved.

    Raises:
        ConfigError: an illegal name.
        StoreError: there is a run already.
    """
    require_run_name(name)
    _refuse_existing(Path(root) / name / DATABASE)


def create_run(run_dir: Path, config: str) -> tuple[sqlite3.Connection, RunAttempt]:
    """Make the run folder and its database; `config` is JSON text.

    Raises:
        StoreError: there is a run already, or the folder cannot be written.
    """
    path = run_dir / DATABASE
    temporary = run_dir / f".{DATABASE}.{os.getpid()}"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        _refuse_existing(path)
        temporary.unlink(missing_ok=True)
        temporary.touch()
        with closing(open_for_writing(temporary)) as connection, transaction(connection):
            create_tables(connection)
            meta = {"name": run_dir.name, "started": repr(time.time()), "sqlite": sqlite3.sqlite_version}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            _insert(connection, RunAttempt(number=1, first_step=0, journal="delete"), config)
        # Whole or not at all, also where the process dies here; of two trainers that begin at once, one gets it.
        _name_once(temporary, path)
        _write_config(run_dir, config)
    except FileExistsError as error:
        raise StoreError(f"no run in {run_dir} yet", "an existing one", "choose another name, or resume it") from error
    except (sqlite3.Error, OSError) as error:
        raise _unwritable(run_dir, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    connection = open_for_writing(path)
    try:
        journal = choose_journal(connection)
        connection.execute("UPDATE attempt SET journal = ?", (journal,))
    except sqlite3.Error as error:
        connection.close()
        raise _unwritable(run_dir, error) from error
    return connection, RunAttempt(number=1, first_step=0, journal=journal)


def _name_once(temporary: Path, path: Path) -> None:
    """Give the file the name `path`; raises FileExistsError where that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without a second name for a file: the name is reserved first.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        temporary.replace(path)


def _refuse_existing(path: Path) -> None:
    """Remove a database that holds nothing, as a process that died at its beginning leaves one; refuse any other.

    Raises:
        StoreError: there is one.
    """
    if not path.exists():
        return
    if not _is_blank(path):
        try:
            with reading(path):
                pass
        except StoreError as error:
            raise StoreError(f"no run in {path.parent} yet", f"a foreign {path.name}", "choose another name") from error
        raise StoreError(f"no run in {path.parent} yet", "an existing one", "choose another name, or resume it")
    path.unlink()


def _is_blank(path: Path) -> bool:
    """Whether the database has no table, and no log from which it would get one."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size > 0:
        return False
    try:
        with closing(open_for_writing(path)) as connection:
            return connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    except sqlite3.Error:
        return False


def continue_run(run_dir: Path, config: str | None, first_step: int) -> tuple[sqlite3.Connection, RunAttempt]:
    """Begin the next attempt at an existing run; rows of older attempts from `first_step` on become superseded.

    Raises:
        StoreError: no run there, a foreign or damaged file, or a writer that still lives.
    """
    path = run_dir / DATABASE
    # A foreign file is found out before the journal mode is written into it.
    try:
        with reading(path):
            pass
    except StoreError as error:
        hint = f"make a new run from its checkpoints: lab runs restore {run_dir}; without any start it anew"
        raise StoreError(error.expected, error.got, hint) from error
    connection = open_for_writing(path)
    try:
        journal = choose_journal(connection)
        with transaction(connection):
            # Inside the write transaction: two trainers that resume at once see one another.
            number, old_config = _last_attempt(connection, run_dir)
            attempt = RunAttempt(number=number + 1, first_step=first_step, journal=journal)
            # Its new rows may be of kinds that the schema of its first ones lacks.
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            # min: an attempt that was superseded from an earlier step on stays so.
            connection.execute("UPDATE attempt SET cutoff = min(coalesce(cutoff, :step), :step)", {"step": first_step})
            _insert(connection, attempt, config or old_config)
            if config is not None:
                _write_config(run_dir, config)
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise _unwritable(run_dir, error) from error
    except StoreError:
        connection.close()
        raise
    return connection, attempt


def _last_attempt(connection: sqlite3.Connection, run_dir: Path) -> tuple[int, str]:
    columns = "number, config, state, pid, created, host, heartbeat"
    row = connection.execute(f"SELECT {columns} FROM attempt ORDER BY number DESC LIMIT 1").fetchone()
    if row is None:
        raise StoreError(
            f"an attempt at the run in {run_dir}",
            "none, its rows are gone",
            "make a new run from its checkpoints with lab runs restore",
        )
    number, config, state, pid, created, host, heartbeat = row
    writer = ProcessIdentity(pid=pid, created=created, host=host)
    alive = writer.alive()
    if alive is None:
        alive = time.time() - heartbeat < STALE_SECONDS
    if state == "running" and alive:
        raise StoreError(f"no live writer in {run_dir}", f"its writer, {writer}", "stop that process first")
    return number, config


def _insert(connection: sqlite3.Connection, attempt: RunAttempt, config: str) -> None:
    writer = ProcessIdentity.current()
    now = time.time()
    connection.execute(
        """INSERT INTO attempt (number, first_step, config, state, text, started, pid, created, host, heartbeat, errors,
        journal) VALUES (?, ?, ?, 'running', '', ?, ?, ?, ?, ?, 0, ?)""",
        (
            attempt.number,
            attempt.first_step,
            config,
            now,
            writer.pid,
            writer.created,
            writer.host,
            now,
            attempt.journal,
        ),
    )


def _write_config(run_dir: Path, config: str) -> None:
    temporary = run_dir / f".{CONFIG}.{os.getpid()}"
    temporary.write_text(config, encoding="utf-8")
    temporary.replace(run_dir / CONFIG)


def _unwritable(run_dir: Path, error: Exception) -> StoreError:
    return StoreError(
        f"a run folder {run_dir} that can be written",
        f"{type(error).__name__}: {error}",
        "choose another root, or free space and grant write permission there",
    )
