import contextlib
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import ConfigError, StoreError
from lab.store import AlertEvent, PhaseEvent, RunReader, RunWriter
from lab.store.schema import APPLICATION_ID, DATABASE, SCHEMA

ROOT = Path(__file__).parents[2]
TRAINER = """
    import itertools, time
    from lab.store import RunWriter
    run = RunWriter({root!r}, "a", {{"epochs": 1}})
    for step in itertools.count():
        run.scalars(step, {{"loss": 1.0 / (step + 1), "accuracy": 0.5}})
        if step == 100:
            run.flush()
            print("ready", flush=True)
        time.sleep(0.0005)
"""


def fill(root: Path, steps: int) -> RunReader:
    with RunWriter(root, "a") as run:
        for step in range(steps):
            run.scalars(step, {"loss": float(step), "accuracy": step / 10})
    return RunReader(root / "a")


def test_a_cursor_gives_each_row_once(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        reader = RunReader(tmp_path / "a")
        seen: list[int] = []
        cursor = 0
        for step in range(7):
            run.scalar(step, "loss", float(step))
            run.flush()
            rows = reader.scalars(after=cursor)
            seen += rows.step
            cursor = rows.cursor
        assert seen == list(range(7))
        assert reader.scalars(after=cursor).cursor == cursor


def test_an_id_is_never_given_twice(tmp_path: Path) -> None:
    cursor = fill(tmp_path, 3).scalars().cursor
    with sqlite3.connect(tmp_path / "a" / DATABASE) as connection:
        connection.execute("DELETE FROM scalar WHERE step >= 1")
    connection.close()
    with RunWriter(tmp_path, "a", resume=True, step=1) as run:
        run.scalar(1, "loss", 5.0)
    assert RunReader(tmp_path / "a").scalars(after=cursor).value == (5.0,)


def test_pages_of_limited_length_give_each_row_once(tmp_path: Path) -> None:
    reader = fill(tmp_path, 25)
    seen: list[int] = []
    cursor = 0
    while rows := reader.scalars(after=cursor, names=("loss",), limit=7):
        assert len(rows) <= 7
        seen += rows.step
        cursor = rows.cursor
    assert seen == list(range(25))


def test_rows_of_other_names_move_the_cursor_too(tmp_path: Path) -> None:
    reader = fill(tmp_path, 5)
    assert reader.scalars(names=("absent",)).cursor == 10
    assert reader.scalars(names=()).cursor == 10
    assert reader.scalars(names=("accuracy",)).name == ("accuracy",) * 5


def test_events_are_given_by_kind_and_cursor(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        for step in range(4):
            run.event(step, "temperature", {"temperature": 1.0, "schedule": "linear"})
            run.event(step, "alert", {"level": "info", "title": "t", "text": "x"})
    reader = RunReader(tmp_path / "a")
    assert {event.kind for event in reader.events(kinds=("alert",)).events} == {"alert"}
    page = reader.events(limit=3)
    assert [event.id for event in page.events] == [1, 2, 3]
    assert [event.id for event in reader.events(after=page.cursor).events] == [4, 5, 6, 7, 8]


def test_an_event_of_an_unknown_kind_is_still_readable(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with sqlite3.connect(tmp_path / "a" / DATABASE) as connection:
        connection.execute("INSERT INTO event VALUES (1, 1, 0, 0.0, 'later', '{}')")
    connection.close()
    (event,) = RunReader(tmp_path / "a").events().events
    assert (event.kind, event.payload) == ("later", {})
    with pytest.raises(StoreError, match="a known later event"):
        event.record()


def test_a_name_alone_is_refused_where_names_are_asked(tmp_path: Path) -> None:
    reader = fill(tmp_path, 1)
    with pytest.raises(ConfigError, match="names as a tuple of str"):
        reader.scalars(names="loss")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="limit >= 1"):
        reader.scalars(limit=0)
    with pytest.raises(ConfigError, match="buckets >= 2"):
        reader.bucketed("loss", 1)


def test_names_are_all_scalar_names(tmp_path: Path) -> None:
    assert fill(tmp_path, 3).names() == ("accuracy", "loss")
    RunWriter(tmp_path, "b").finish()
    assert RunReader(tmp_path / "b").names() == ()


@settings(max_examples=15, deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60),
    first=st.integers(0, 50),
    buckets=st.integers(2, 20),
)
def test_buckets_agree_with_the_rows(values: list[float], first: int, buckets: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        with RunWriter(root, "a") as run:
            for i, value in enumerate(values):
                run.scalar(first + i, "loss", value)
        found = RunReader(Path(root) / "a").bucketed("loss", buckets)
    assert len(found.start) <= buckets
    assert found.width & (found.width - 1) == 0
    assert sum(found.count) == len(values)
    for i, start in enumerate(found.start):
        assert start % found.width == 0
        inside = [v for step, v in enumerate(values, first) if start <= step < start + found.width]
        finite = [v for v in inside if math.isfinite(v)]
        assert (found.count[i], found.nonfinite[i]) == (len(inside), len(inside) - len(finite))
        if finite:
            assert (found.low[i], found.high[i]) == (min(finite), max(finite))
            expected = math.fsum(v / len(finite) for v in finite)
            scale = max(abs(v) for v in finite)
            close = math.isclose(found.mean[i], expected, rel_tol=1e-9, abs_tol=1e-9 * scale)
            assert close or scale > 1e306, "beyond this the sum leaves the range of a float"
        else:
            assert math.isnan(found.low[i])
            assert math.isnan(found.mean[i])


def test_an_unknown_name_has_no_buckets(tmp_path: Path) -> None:
    assert fill(tmp_path, 3).bucketed("absent").start == ()


def test_a_killed_run_is_readable_and_stale(tmp_path: Path, start: Callable) -> None:
    process = start(TRAINER.format(root=str(tmp_path)))
    reader = RunReader(tmp_path / "a")
    assert reader.state() == "running"
    time.sleep(0.5)
    process.kill()
    process.wait()
    assert (tmp_path / "a" / f"{DATABASE}-wal").exists()
    summary = reader.summary()
    assert summary.state == "stale"
    assert f"process {process.pid}" in summary.reason
    rows = reader.scalars(names=("loss",))
    assert len(rows) > 100
    assert rows.step == tuple(range(len(rows)))
    assert reader.config() == {"epochs": 1}
    with sqlite3.connect(tmp_path / "a" / DATABASE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_copy_with_its_log_holds_every_row(tmp_path: Path, start: Callable) -> None:
    process = start(TRAINER.format(root=str(tmp_path)))
    process.kill()
    process.wait()
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert RunReader(tmp_path / "copy").scalars().step == RunReader(tmp_path / "a").scalars().step


def test_reading_changes_no_byte(tmp_path: Path) -> None:
    reader = fill(tmp_path, 20)
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    reader.scalars()
    reader.bucketed("loss")
    reader.summary()
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert before.keys() == {DATABASE, "config.json"}


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_in_a_folder_that_nobody_may_write_is_readable(killed: bool, start: Callable) -> None:
    with tempfile.TemporaryDirectory() as root:
        if killed:
            process = start(TRAINER.format(root=root))
            process.kill()
            process.wait()
            rows = len(RunReader(Path(root) / "a").scalars())
            assert (Path(root) / "a" / f"{DATABASE}-wal").exists()
        else:
            rows = len(fill(Path(root), 20).scalars())
        # Files written in WAL mode; the folder and all in it read-only; the reader without the rights of root.
        if not killed:
            connection = sqlite3.connect(Path(root) / "a" / DATABASE)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.close()
        for path in (Path(root) / "a").iterdir():
            path.chmod(0o444)
        (Path(root) / "a").chmod(0o555)
        Path(root).chmod(0o755)
        code = f"""
            import os
            from lab.store import RunReader
            if os.geteuid() == 0:
                os.setegid(65534)
                os.seteuid(65534)
            print(len(RunReader({str(Path(root) / "a")!r}).scalars()))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT, check=False
        )
        (Path(root) / "a").chmod(0o755)
        assert done.stderr == ""
        assert int(done.stdout) == rows


def test_a_foreign_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no readable events.db there"):
        RunReader(tmp_path)
    path = tmp_path / DATABASE
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="got an empty file"):
        RunReader(tmp_path)
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        RunReader(tmp_path)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE scalar (id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="application id 0x0"):
        RunReader(tmp_path)


def test_a_truncated_file_is_an_error_of_the_store(tmp_path: Path) -> None:
    reader = fill(tmp_path, 3000)
    path = tmp_path / "a" / DATABASE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StoreError, match="malformed"):
        reader.scalars()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with sqlite3.connect(tmp_path / "a" / DATABASE) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(StoreError, match=f"schema {SCHEMA} or older .* got schema {SCHEMA + 1}"):
        RunReader(tmp_path / "a")


def test_the_database_carries_its_identity(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with sqlite3.connect(tmp_path / "a" / DATABASE) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    connection.close()


def test_a_writer_that_gives_no_sign_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.flush()
        reader = RunReader(tmp_path / "a")
        assert reader.state() == "running"
        monkeypatch.setattr("lab.store.reader.STALE_SECONDS", -1.0)
        summary = reader.summary()
        assert summary.state == "stale"
        assert "no heartbeat from" in summary.reason


def test_the_heartbeat_beats_without_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: Callable) -> None:
    monkeypatch.setattr("lab.store.flusher.FLUSH_SECONDS", 0.02)
    monkeypatch.setattr("lab.store.flusher.HEARTBEAT_SECONDS", 0.05)
    with RunWriter(tmp_path, "a"):
        reader = RunReader(tmp_path / "a")
        first = time.time() - reader.summary().heartbeat_age
        wait_for(lambda: time.time() - reader.summary().heartbeat_age > first + 0.2)


def test_a_summary_names_step_attempt_and_process(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(17, "loss", 1.0)
        run.flush()
        summary = RunReader(tmp_path / "a").summary()
    assert (summary.name, summary.last_step, summary.attempt, summary.pid) == ("a", 17, 1, os.getpid())
    assert (summary.journal, summary.write_errors, summary.reason) == ("wal", 0, "")
    assert 0 <= summary.heartbeat_age < 10


def test_a_thinned_scalar_keeps_extremes_and_says_how_many_rows_they_stand_for(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        for step in range(1000):
            run.scalar(step, "loss", {123: 9.0, 500: -9.0, 700: math.inf}.get(step, 0.5))
        run.scalar(1000, "other", 1.0)
    reader = RunReader(tmp_path / "a")
    last, step, _ = reader.extent()
    assert (last, step) == (1001, 1000)
    found = reader.thinned("loss", before=900, until=last, points=20)
    assert found.rows == 900
    assert len(found.step) <= 21
    pairs = list(zip(found.step, found.value, strict=True))
    assert (123, 9.0) in pairs
    assert (500, -9.0) in pairs
    assert [step for step, value in pairs if math.isnan(value)] == [700]
    assert list(found.step) == sorted(found.step)
    assert reader.thinned("absent", before=900, until=last).rows == 0
    assert reader.thinned("loss", before=900, until=10).rows == 10
    assert reader.recent("loss", since=997, until=last).step == (997, 998, 999)


def test_a_thinned_scalar_leaves_superseded_rows_out(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        for step in range(10):
            run.scalar(step, "loss", 5.0)
    with RunWriter(tmp_path, "a", resume=True, step=4) as run:
        run.scalar(4, "loss", 1.0)
    found = RunReader(tmp_path / "a").thinned("loss", before=100, until=100)
    assert (found.rows, found.value[-1]) == (5, 1.0)


def test_rows_of_another_kind_are_refused_by_the_thinning_too(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
    with contextlib.closing(sqlite3.connect(tmp_path / "a" / "events.db")) as connection, connection:
        connection.execute("UPDATE scalar SET value = 'x'")
    with pytest.raises(StoreError, match="rows of a run"):
        RunReader(tmp_path / "a").thinned("loss", before=100, until=100)


def test_a_file_whose_names_are_no_text_is_refused_in_our_words(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
    path = tmp_path / "a" / DATABASE
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE attempt", b"CREATE \xe5\xffBLE attempt"))
    with pytest.raises(StoreError, match="a readable run database"):
        RunReader(tmp_path / "a")


def test_an_outline_has_the_latest_all_of_rare_kinds_and_one_of_each(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.record(0, PhaseEvent(phase="warmup", epoch=0, epochs=1, cycle=0))
        for step in range(1, 31):
            run.record(step, AlertEvent(level="info", title="t", text=str(step)))
        run.record(31, PhaseEvent(phase="arch_training", epoch=0, epochs=1, cycle=0))
    reader = RunReader(tmp_path / "a")
    found = reader.outline(5)
    assert [(event.kind, event.step) for event in found.events] == [
        ("phase", 0),
        *(("alert", step) for step in range(27, 31)),
        ("phase", 31),
    ]
    assert found.cursor == reader.events().cursor
    assert reader.outline(100).events == reader.events().events
    with RunWriter(tmp_path, "a", resume=True, step=10):
        pass
    assert [event.step for event in RunReader(tmp_path / "a").outline(1).events] == [0, 9], "without superseded rows"
    with pytest.raises(ConfigError, match="recent"):
        reader.outline(0)
