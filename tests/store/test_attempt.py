import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lab.base import ConfigError, StoreError
from lab.store import LayersEvent, ProcessIdentity, RunReader, RunWriter
from lab.store.schema import DATABASE, SCHEMA


def write(run: RunWriter, first: int, last: int, value: float) -> None:
    for step in range(first, last):
        run.scalar(step, "loss", value)
        run.event(step, "temperature", {"temperature": value, "schedule": "linear"})


def test_a_later_attempt_supersedes_rows_from_its_first_step_on(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a", {"epochs": 1}) as run:
        write(run, 0, 10, 1.0)
    reader = RunReader(tmp_path / "a")
    cursor = reader.scalars().cursor
    with RunWriter(tmp_path, "a", resume=True, step=6) as run:
        assert run.attempt == 2
        write(run, 6, 8, 2.0)
    rows = reader.scalars()
    assert rows.step == (0, 1, 2, 3, 4, 5, 6, 7)
    assert rows.value == (1.0,) * 6 + (2.0,) * 2
    assert rows.attempt == (1,) * 6 + (2,) * 2
    assert [event.step for event in reader.events().events] == list(rows.step)
    fresh = reader.scalars(after=cursor)
    assert fresh.step == (6, 7)
    assert min(fresh.id) > cursor
    assert [(row.number, row.first_step, row.cutoff) for row in reader.attempts()] == [(1, 0, 6), (2, 6, None)]
    assert reader.bucketed("loss").high == (1.0,) * 6 + (2.0,) * 2
    assert reader.summary().attempt == 2


def test_an_attempt_that_begins_earlier_supersedes_all_before_it(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        write(run, 0, 10, 1.0)
    with RunWriter(tmp_path, "a", resume=True, step=8) as run:
        write(run, 8, 12, 2.0)
    with RunWriter(tmp_path, "a", resume=True, step=4) as run:
        write(run, 4, 6, 3.0)
    with RunWriter(tmp_path, "a", resume=True, step=6) as run:
        write(run, 6, 7, 4.0)
    assert RunReader(tmp_path / "a").scalars().value == (1.0,) * 4 + (3.0,) * 2 + (4.0,)


def test_a_resumed_run_keeps_its_settings_unless_given_new_ones(tmp_path: Path) -> None:
    RunWriter(tmp_path, "a", {"epochs": 1}).finish()
    RunWriter(tmp_path, "a", resume=True, step=0).finish()
    assert RunReader(tmp_path / "a").config() == {"epochs": 1}
    RunWriter(tmp_path, "a", {"epochs": 2}, resume=True, step=0).finish()
    assert RunReader(tmp_path / "a").config() == {"epochs": 2}
    assert (tmp_path / "a" / "config.json").read_text() == '{"epochs": 2}'


def test_resume_of_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="a run in .*found no readable events.db there"):
        RunWriter(tmp_path, "a", resume=True, step=0)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("arguments", [{"resume": True}, {"step": 3}, {"resume": True, "step": -1}])
def test_resume_and_step_go_together(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(ConfigError, match="step"):
        RunWriter(tmp_path, "a", **arguments)


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path, start: Callable) -> None:
    process = start(
        f"""
        import time
        from lab.store import RunWriter
        run = RunWriter({str(tmp_path)!r}, "a")
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    with pytest.raises(StoreError, match=rf"its writer, process {process.pid} on .*Stop that process first"):
        RunWriter(tmp_path, "a", resume=True, step=0)
    assert len(RunReader(tmp_path / "a").attempts()) == 1
    process.kill()
    process.wait()
    RunWriter(tmp_path, "a", resume=True, step=0).finish()
    assert len(RunReader(tmp_path / "a").attempts()) == 2


def test_a_writer_on_another_host_counts_by_its_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = ProcessIdentity(pid=1, created=0.0, host="another-host.invalid")
    monkeypatch.setattr(ProcessIdentity, "current", classmethod(lambda cls: away))
    run = RunWriter(tmp_path, "a")
    with pytest.raises(StoreError, match=r"process 1 on another-host\.invalid"):
        RunWriter(tmp_path, "a", resume=True, step=0)
    run._flusher.close()
    monkeypatch.setattr("lab.store.attempt.STALE_SECONDS", 0.0)
    RunWriter(tmp_path, "a", resume=True, step=0).finish()
    run._open = False


def test_a_run_of_an_earlier_schema_opens_and_goes_on_under_the_present_one(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        write(run, 0, 3, 1.0)

    def number() -> int:
        with closing(sqlite3.connect(tmp_path / "a" / DATABASE)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    with closing(sqlite3.connect(tmp_path / "a" / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 2")
    assert len(RunReader(tmp_path / "a").scalars()) == 3
    assert number() == 2
    with RunWriter(tmp_path, "a", resume=True, step=3) as run:
        run.record(3, LayersEvent(layers=["stem"], gradient=[1.0], ratio=[None]))
    assert number() == SCHEMA
    assert RunReader(tmp_path / "a").events(kinds=("layers",)).events[0].record().gradient == [1.0]


@pytest.mark.parametrize("kind", ["proof", "images", "predictions", "layers"])
def test_an_event_about_samples_or_layers_needs_all_its_fields(tmp_path: Path, kind: str) -> None:
    with RunWriter(tmp_path, "a") as run, pytest.raises(StoreError, match="missing"):
        run.event(0, kind, {})
