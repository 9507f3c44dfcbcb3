"""Storages: spelled, checked before anything is written, owned by one supervisor, repaired after a dead one."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import optuna
import pytest

from lab.base import ConfigError, StudyError
from lab.tune.storage import StorageAddress, open_storage


def address(text, tmp_path):
    return StorageAddress.parse(text, tmp_path / "journal.log")


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("", "journal", "journal:{}/journal.log"),
        ("journal:a/b.log", "journal", "journal:a/b.log"),
        ("sqlite:a.db", "sqlite", "sqlite:a.db"),
        ("sqlite:///a.db", "sqlite", "sqlite:a.db"),
        ("postgresql://me:secret@host:1/db", "postgresql", "postgresql://me:***@host:1/db"),
        ("postgresql+psycopg://me@host/db", "postgresql", "postgresql://me@host/db"),
    ],
)
def test_an_address_is_read_and_shown_without_its_password(text, kind, shown, tmp_path):
    found = address(text, tmp_path)
    assert (found.kind, str(found)) == (kind, shown.format(tmp_path))


@pytest.mark.parametrize("text", ["redis://host", "journal:", "sqlite:", "a.db", "postgresql:db"])
def test_another_address_is_refused(text, tmp_path):
    with pytest.raises(ConfigError, match="journal:FILE, sqlite:FILE or postgresql://"):
        address(text, tmp_path)


@pytest.mark.parametrize("content", [b"hello\n", b"no line end", b'{"a": 1}\n', b"[1]\n", b"\0\1\2\n"])
def test_a_foreign_file_is_no_journal_and_stays_as_it_is(content, tmp_path):
    path = tmp_path / "journal.log"
    path.write_bytes(content)
    with (
        pytest.raises(StudyError, match="a journal of Optuna in .* got a foreign file"),
        open_storage(address("", tmp_path)),
    ):
        pass
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["journal.log"]


def test_a_foreign_database_is_no_storage_and_stays_as_it_is(tmp_path):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StudyError, match="got a foreign database"), open_storage(address(f"sqlite:{path}", tmp_path)):
        pass
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(StudyError, match="file is not a database"), open_storage(address(f"sqlite:{path}", tmp_path)):
        pass
    with pytest.raises(StudyError, match="got a folder"), open_storage(address(f"journal:{tmp_path}", tmp_path)):
        pass


def test_a_server_that_does_not_answer_is_told_in_one_line(tmp_path):
    with (
        pytest.raises(StudyError, match=r"a storage of Optuna at postgresql://me:\*\*\*@127.0.0.1:1/db") as caught,
        open_storage(address("postgresql://me:secret@127.0.0.1:1/db", tmp_path)),
    ):
        pass
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def journal(tmp_path):
    """A journal with one study of one trial."""
    with open_storage(address("", tmp_path)) as place:
        study = optuna.create_study(study_name="a", storage=place.storage)
        study.tell(study.ask(), 1.0)
    return tmp_path / "journal.log"


def trials_of(tmp_path):
    with open_storage(address("", tmp_path)) as place:
        study = optuna.load_study(study_name="a", storage=place.storage)
        study.tell(study.ask(), 2.0)
        return len(study.get_trials()), place.repairs


def test_half_a_line_at_the_end_is_cut_off_and_kept(journal, tmp_path):
    whole = journal.read_bytes()
    for count, torn in enumerate((b'{"op_code": 4, "wor', b'{"op_code"'), 1):
        with journal.open("ab") as handle:
            handle.write(torn)
        trials, repairs = trials_of(tmp_path)
        assert trials == 1 + count
        assert repairs == (
            f"cut {len(torn)} bytes of an unfinished line off the end of journal.log; they are kept in "
            f"journal.log.torn-{count}",
        )
        assert (tmp_path / f"journal.log.torn-{count}").read_bytes() == torn
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_cut(journal, tmp_path):
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:2], b'{"op_code": 4, "w' + lines[2], *lines[3:]])
    journal.write_bytes(damaged)
    with pytest.raises(StudyError, match="no record in line 3"), open_storage(address("", tmp_path)):
        pass
    assert journal.read_bytes() == damaged


def test_the_lock_of_a_dead_writer_is_removed(journal, tmp_path):
    lock = journal.with_name("journal.log.lock")
    lock.symlink_to(journal)
    trials, repairs = trials_of(tmp_path)
    assert trials == 2
    assert repairs == ("removed the lock journal.log.lock, whose holder is dead",)
    assert not lock.is_symlink()


HOLDER = """
import sys
from pathlib import Path
from lab.tune.storage import StorageAddress, open_storage
with open_storage(StorageAddress.parse("", Path(sys.argv[1]))):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_one_supervisor_at_a_time_has_a_file_and_a_dead_one_has_none(journal, tmp_path):
    command = [sys.executable, "-c", HOLDER, str(journal)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "open\n"
        match = f"for one supervisor at a time, got process {holder.pid} on"
        with pytest.raises(StudyError, match=match), open_storage(address("", tmp_path)):
            pass
        holder.kill()
    assert trials_of(tmp_path)[0] == 2


def test_commits_to_sqlite_do_not_wait_for_the_disk(tmp_path):
    with open_storage(address(f"sqlite:{tmp_path / 'a.db'}", tmp_path)) as place:
        study = optuna.create_study(study_name="a", storage=place.storage)
        study.tell(study.ask(), 1.0)
        with place.engine.connect() as connection:
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 1]
    with open_storage(address(f"sqlite:{tmp_path / 'a.db'}", tmp_path)) as place:
        assert len(optuna.load_study(study_name="a", storage=place.storage).get_trials()) == 1
