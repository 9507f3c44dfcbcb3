import contextlib
import math
import os
import sqlite3
from pathlib import Path

import pytest

from lab.base import StoreError
from lab.cli.main import main
from lab.store import RUNS_ROOT, RunReader, RunWriter, holds_study, list_runs, new_run_name


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        RunWriter(tmp_path, name).finish()
    assert [run.name for run in list_runs(tmp_path)] == ["b", "a", "c"]
    RunWriter(tmp_path, "c", resume=True, step=0).finish()
    assert [run.name for run in list_runs(tmp_path)] == ["c", "b", "a"]


def test_foreign_and_damaged_folders_are_listed_with_the_reason(tmp_path: Path) -> None:
    RunWriter(tmp_path, "good").finish()
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "events.db").write_bytes(b"x" * 5000)
    (tmp_path / "foreign").mkdir()
    sqlite3.connect(tmp_path / "foreign" / "events.db").execute("CREATE TABLE t (x)").connection.close()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file.txt").write_text("")
    runs = {run.name: run for run in list_runs(tmp_path)}
    assert runs.keys() == {"good", "empty", "damaged", "foreign"}
    assert runs["good"].state == "finished"
    for name, reason in (("empty", "no readable"), ("damaged", "not a database"), ("foreign", "application id")):
        assert runs[name].state == "unreadable"
        assert reason in runs[name].reason


def test_a_folder_that_holds_other_folders_alone_is_no_run(tmp_path: Path) -> None:
    RunWriter(tmp_path, "good").finish()
    (tmp_path / "bench" / "morph").mkdir(parents=True)
    assert [run.name for run in list_runs(tmp_path)] == ["good"]
    # A run whose files are gone has its checkpoints still.
    (tmp_path / "lost" / "checkpoints").mkdir(parents=True)
    assert {run.name: run.state for run in list_runs(tmp_path)} == {"good": "finished", "lost": "unreadable"}


def test_a_missing_root_holds_no_runs_and_a_file_is_refused(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nothing") == ()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a folder of runs"):
        list_runs(tmp_path / "file")


def test_runs_lie_in_a_folder_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RunWriter(RUNS_ROOT, "a").finish()
    assert os.listdir(tmp_path) == ["runs"]
    assert [run.name for run in list_runs()] == ["a"]


def test_a_new_name_is_free_and_legal(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(new_run_name(tmp_path, "demo"))
        RunWriter(tmp_path, names[-1]).finish()
    assert len(set(names)) == 3
    assert all(name.startswith("demo-20") for name in names)


DAMAGE = [
    "DELETE FROM attempt",
    "DROP TABLE attempt",
    "UPDATE attempt SET heartbeat = 'never'",
    "UPDATE attempt SET pid = 'nobody', state = 'running'",
    "UPDATE attempt SET pid = -5, state = 'running'",
    "UPDATE attempt SET pid = 9000000000000000000, state = 'running'",
    "UPDATE attempt SET last_step = 'the last'",
    "UPDATE attempt SET started = x'00ff'",
]


@pytest.mark.parametrize("statement", DAMAGE)
def test_a_damaged_run_hides_no_other(tmp_path: Path, statement: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        with RunWriter(tmp_path, name) as run:
            run.scalar(0, "loss", 1.0)
    with contextlib.closing(sqlite3.connect(tmp_path / "b" / "events.db")) as connection, connection:
        connection.execute(statement)
    runs = {run.name: run for run in list_runs(tmp_path)}
    assert (runs["a"].state, runs["c"].state) == ("finished", "finished")
    assert runs["b"].state in ("unreadable", "stale")
    assert runs["b"].reason
    assert main(["runs", "--save-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("finished" in line for line in lines) == 2
    assert sum("unreadable" in line or "stale" in line for line in lines) == 1


@pytest.mark.parametrize("text", ["no JSON", "[" * 200_000, "[1]", "null"])
def test_settings_and_events_that_were_changed_are_named(tmp_path: Path, text: str) -> None:
    with RunWriter(tmp_path, "a", {"epochs": 1}) as run:
        run.event(0, "temperature", {"temperature": 1.0, "schedule": "linear"})
    with contextlib.closing(sqlite3.connect(tmp_path / "a" / "events.db")) as connection, connection:
        connection.execute("UPDATE attempt SET config = ?", (text,))
        connection.execute("UPDATE event SET payload = ?", (text,))
    reader = RunReader(tmp_path / "a")
    for read in (reader.config, reader.events):
        with pytest.raises(StoreError, match="missing or changed"):
            read()


def test_a_folder_that_may_not_be_read_asks_for_the_permission_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StoreError, match="a readable folder .*Permission denied.*Grant read permission there"):
        list_runs(tmp_path)


def test_a_summary_has_the_latest_accuracy_that_stands(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "run", {}) as run:
        run.flush()
        assert RunReader(run.run_dir).summary().accuracy is None
        run.scalars(1, {"decision/accuracy": 0.5})
        run.scalars(3, {"decision/accuracy": 0.75})
        run.flush()
        assert RunReader(run.run_dir).summary().accuracy == 0.75
        run.scalars(4, {"decision/accuracy": math.nan})
        run.flush()
        assert math.isnan(RunReader(run.run_dir).summary().accuracy)


def test_a_studys_store_is_told_from_a_runs_and_from_a_damaged_one(tmp_path: Path) -> None:
    for name, config in (("run", {"recipe": "fixed"}), ("study", {"study": {"name": "study"}}), ("odd", {"study": 3})):
        RunWriter(tmp_path, name, config).finish()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "events.db").write_bytes(b"no database")
    assert [run.name for run in list_runs(tmp_path) if holds_study(run.path)] == ["study"]
