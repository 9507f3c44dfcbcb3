import os
import sqlite3
from pathlib import Path

import pytest

from lab.base import StoreError
from lab.store import RUNS_ROOT, RunWriter, list_runs, new_run_name


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
