import json
import math
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from lab.base import ConfigError, StoreError
from lab.store import AlertEvent, PhaseEvent, RunReader, RunWriter, TemperatureEvent, control
from lab.store import schema as schema_module
from lab.store.flusher import Flusher
from lab.store.schema import DATABASE

PHASE = PhaseEvent(phase="warmup", epoch=0, epochs=2, cycle=0)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a", {"epochs": 3}) as run:
        run.scalars(1, {"loss": 2.5, "accuracy": 0.25})
        run.scalar(2, "loss", 2.0)
        run.event(2, "temperature", {"temperature": 1.5, "schedule": "linear"})
        run.record(3, PHASE)
    reader = RunReader(tmp_path / "a")
    rows = reader.scalars()
    assert list(zip(rows.step, rows.name, rows.value, strict=True)) == [
        (1, "loss", 2.5),
        (1, "accuracy", 0.25),
        (2, "loss", 2.0),
    ]
    assert set(rows.attempt) == {1}
    assert all(abs(moment - time.time()) < 60 for moment in rows.time)
    events = reader.events().events
    assert [(event.step, event.kind) for event in events] == [(2, "temperature"), (3, "phase")]
    assert events[0].record() == TemperatureEvent(temperature=1.5, schedule="linear")
    assert events[1].record() == PHASE
    assert reader.config() == {"epochs": 3}
    assert json.loads((tmp_path / "a" / "config.json").read_text()) == {"epochs": 3}


def test_nan_and_infinities_survive(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        for step, value in enumerate((math.nan, math.inf, -math.inf, 0.0)):
            run.scalar(step, "loss", value)
    values = RunReader(tmp_path / "a").scalars().value
    assert math.isnan(values[0])
    assert values[1:] == (math.inf, -math.inf, 0.0)


def test_a_row_is_readable_within_a_second_of_its_call(tmp_path: Path, wait_for: Callable) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
        begin = time.monotonic()
        reader = RunReader(tmp_path / "a")
        wait_for(lambda: len(reader.scalars()) == 1)
        assert time.monotonic() - begin < 1.0


def test_a_phase_event_does_not_wait_for_the_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: Callable
) -> None:
    monkeypatch.setattr("lab.store.flusher.FLUSH_SECONDS", 3600.0)
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
        run.record(0, PHASE)
        wait_for(lambda: len(RunReader(tmp_path / "a").scalars()) == 1)


def test_flush_writes_what_is_queued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.store.flusher.FLUSH_SECONDS", 3600.0)
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
        assert run.flush()
        assert len(RunReader(tmp_path / "a").scalars()) == 1


def test_a_call_with_ten_scalars_costs_the_trainer_microseconds(tmp_path: Path) -> None:
    values = {f"scalar{i}": float(i) for i in range(10)}
    with RunWriter(tmp_path, "a") as run:
        cost = []
        for repeat in range(20):
            begin = time.perf_counter()
            for step in range(repeat * 100, repeat * 100 + 100):
                run.scalars(step, values)
            cost.append((time.perf_counter() - begin) / 100)
    assert min(cost) < 50e-6


def test_a_clean_exit_finishes_the_run_and_leaves_one_database_file(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
        assert RunReader(tmp_path / "a").state() == "running"
    assert RunReader(tmp_path / "a").state() == "finished"
    assert sorted(os.listdir(tmp_path / "a")) == ["config.json", DATABASE]


def test_an_exception_ends_the_run_as_failed_with_its_text(tmp_path: Path) -> None:
    def train() -> None:
        with RunWriter(tmp_path, "a") as run:
            run.scalar(0, "loss", 1.0)
            run.scalar(1, "loss", 1 / 0)

    with pytest.raises(ZeroDivisionError):
        train()
    summary = RunReader(tmp_path / "a").summary()
    assert (summary.state, summary.reason) == ("failed", "ZeroDivisionError: division by zero")
    assert len(RunReader(tmp_path / "a").scalars()) == 1


def test_the_first_end_of_a_run_holds(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.finish("failed", "early stop")
    assert RunReader(tmp_path / "a").summary().reason == "early stop"
    with pytest.raises(StoreError, match=r"an open run .* got one that has ended"):
        run.scalar(0, "loss", 1.0)
    with pytest.raises(StoreError, match="state finished or failed"):
        run.finish("done")


def test_an_existing_run_is_refused_and_kept(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
    with pytest.raises(StoreError, match=r"no run in .* yet, got an existing one"):
        RunWriter(tmp_path, "a")
    assert len(RunReader(tmp_path / "a").scalars()) == 1


def test_a_folder_without_a_run_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "train.log").write_text("begin")
    RunWriter(tmp_path, "a").finish()
    assert RunReader(tmp_path / "a").state() == "finished"


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a" * 101, "a b"])
def test_an_illegal_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="run name"):
        RunWriter(tmp_path, name)
    assert os.listdir(tmp_path) == []


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"a run folder .*file/a that can be written"):
        RunWriter(tmp_path / "file", "a")


def test_a_config_that_is_not_json_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="config of numbers, strings, lists and dicts"):
        RunWriter(tmp_path, "a", {"x": object()})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        ("party", {}, r"a kind of event among phase, .*'party'"),
        ("temperature", {"temperature": 1.0}, r"missing \['schedule'\], unknown \[\]"),
        ("temperature", {**asdict(TemperatureEvent(temperature=1.0, schedule="linear")), "x": 1}, r"unknown \['x'\]"),
        ("temperature", {"temperature": object(), "schedule": "linear"}, "payload of a temperature event"),
    ],
)
def test_a_wrong_event_is_refused(tmp_path: Path, kind: str, payload: dict, message: str) -> None:
    with RunWriter(tmp_path, "a") as run, pytest.raises(StoreError, match=message):
        run.event(0, kind, payload)
    assert RunReader(tmp_path / "a").events().events == ()


@pytest.mark.parametrize("values", [{"loss": "1.0"}, {"loss": None}, {1: 1.0}, {"loss": 1j}])
def test_a_wrong_scalar_is_refused(tmp_path: Path, values: dict) -> None:
    with RunWriter(tmp_path, "a") as run, pytest.raises(StoreError, match="number as"):
        run.scalars(0, values)
    assert len(RunReader(tmp_path / "a").scalars()) == 0


@pytest.mark.parametrize("step", [4, -1, 5.0, True, 2**63, "6"])
def test_a_step_that_goes_back_or_is_no_int_is_refused(tmp_path: Path, step: object) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(5, "loss", 1.0)
        with pytest.raises(StoreError, match="a step as int, 5 or later"):
            run.scalar(step, "loss", 2.0)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="a step as int, 5 or later"):
            run.event(step, "temperature", {})  # type: ignore[arg-type]
        run.scalar(5, "loss", 3.0)
    assert RunReader(tmp_path / "a").scalars().value == (1.0, 3.0)


def test_a_failed_write_is_counted_tried_again_and_alerted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.store.flusher.FLUSH_SECONDS", 3600.0)
    monkeypatch.setattr("lab.store.schema.BUSY_SECONDS", 0.05)
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
        other = sqlite3.connect(tmp_path / "a" / DATABASE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert not run.flush()
        assert run.errors == 1
        assert "locked" in run.last_error
        run.scalar(1, "loss", 2.0)
        other.execute("COMMIT")
        other.close()
        assert run.flush()
    reader = RunReader(tmp_path / "a")
    assert reader.scalars().value == (1.0, 2.0)
    (alert,) = reader.events(kinds=("alert",)).events
    record = alert.record()
    assert isinstance(record, AlertEvent)
    assert "1 writes failed" in record.text
    assert reader.summary().write_errors == 1
    assert run.lost == 0


def test_a_full_disk_stops_no_training_and_leaves_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.store.flusher.FLUSH_SECONDS", 3600.0)
    with RunWriter(tmp_path, "a") as run:
        connection = run._flusher._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        for step in range(1500):
            run.scalar(step, "loss", float(step))
        assert not run.flush()
        assert "full" in run.last_error
        connection.execute("PRAGMA max_page_count = 1000000")
        run.scalar(1500, "loss", 1500.0)
        assert run.flush()
    assert RunReader(tmp_path / "a").scalars().step == tuple(range(1501))


def test_rows_that_cannot_be_written_are_given_up_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.store.flusher.FLUSH_SECONDS", 3600.0)
    monkeypatch.setattr("lab.store.flusher.MAX_PENDING", 10)
    monkeypatch.setattr("lab.store.schema.BUSY_SECONDS", 0.05)
    run = RunWriter(tmp_path, "a")
    other = sqlite3.connect(tmp_path / "a" / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for step in range(15):
        run.scalar(step, "loss", 1.0)
    assert not run.flush()
    assert run.lost == 5
    with pytest.warns(RuntimeWarning, match=r"15 rows of .* could not be written"):
        run.finish()
    other.close()


def test_without_a_write_ahead_log_the_run_is_kept_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This file locking of SQLite has no shared memory, as on a network mount, so that a write-ahead log is refused.
    original = schema_module._uri
    monkeypatch.setattr(schema_module, "_uri", lambda path, given: original(path, f"{given}&vfs=unix-dotfile"))
    with RunWriter(tmp_path, "a") as run:
        assert run.journal == "delete"
        run.flush()
        (alert,) = RunReader(run.run_dir).events(kinds=("alert",)).events
        assert "needs a local disk" in alert.payload["text"]
        run.scalar(0, "loss", 1.0)
        run.flush()
        reader = RunReader(tmp_path / "a")
        assert reader.summary().journal == "delete"
        assert reader.scalars().value == (1.0,)


def test_commands_sent_before_an_attempt_are_refused_by_an_event(tmp_path: Path) -> None:
    RunWriter(tmp_path, "a").finish()
    control.send(tmp_path / "a", "stop")
    with RunWriter(tmp_path, "a", resume=True, step=3):
        assert control.poll(tmp_path / "a") == ()
    (event,) = RunReader(tmp_path / "a").events(kinds=("control",)).events
    assert (event.step, event.payload["command"], event.payload["done"]) == (3, "stop", False)


def test_a_process_that_ends_without_finishing_keeps_its_rows(tmp_path: Path, start: Callable) -> None:
    process = start(
        f"""
        from lab.store import RunWriter
        run = RunWriter({str(tmp_path)!r}, "a")
        run.scalar(0, "loss", 1.0)
        print("ready", flush=True)
        """
    )
    assert process.wait(timeout=30) == 0
    reader = RunReader(tmp_path / "a")
    assert reader.scalars().value == (1.0,)
    assert reader.state() == "stale"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_end_the_run(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
        child = os.fork()
        if child == 0:
            run.finish("failed", "the child")
            os._exit(0)
        os.waitpid(child, 0)
        run.scalar(1, "loss", 2.0)
    reader = RunReader(tmp_path / "a")
    assert reader.state() == "finished"
    assert reader.scalars().value == (1.0, 2.0)


def test_an_end_that_cannot_be_written_is_tried_again_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunWriter(tmp_path, "a")
    end, tried = Flusher._end_attempt, []

    def fails(flusher: Flusher, state: str, text: str) -> bool:
        tried.append(state)
        return len(tried) > 1 and run.run_dir.name == "b" and end(flusher, state, text)

    monkeypatch.setattr(Flusher, "_end_attempt", fails)
    with pytest.warns(RuntimeWarning, match="has ended as finished, which could not be written.*shown as stale"):
        run.finish()
    assert tried == ["finished", "finished"]
    tried.clear()
    run = RunWriter(tmp_path, "b")
    run.finish()
    assert RunReader(tmp_path / "b").state() == "finished"
