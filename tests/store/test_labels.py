"""Labels of runs lie beside the store and change nothing in it; a run is deleted only when it has ended."""

import os
from pathlib import Path

import pytest

from lab.base import ConfigError, StoreError
from lab.store import RunLabel, RunReader, RunWriter, delete_run, list_runs, read_label, write_label
from lab.store.labels import LABEL
from lab.store.schema import DATABASE


@pytest.fixture
def run(tmp_path: Path) -> Path:
    writer = RunWriter(tmp_path, "run", {})
    writer.finish()
    return writer.run_dir


def test_a_label_comes_back_and_the_database_stays_as_it_is(run: Path) -> None:
    assert read_label(run) == RunLabel()
    before = (run / DATABASE).read_bytes()
    label = RunLabel(title="größer", note="two\nlines", archived=True)
    write_label(run, label)
    assert read_label(run) == label
    assert (run / DATABASE).read_bytes() == before
    assert [path.name for path in run.iterdir() if path.name.startswith(".label")] == []
    assert [found.name for found in list_runs(run.parent)] == ["run"]


def test_who_reads_while_a_label_is_written_sees_a_whole_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_label(run, RunLabel(note="old"))

    def cut_off(*paths: object) -> None:
        assert read_label(run).note == "old"
        raise OSError("the disk is full")

    monkeypatch.setattr("lab.store.labels.os.replace", cut_off)
    with pytest.raises(StoreError, match="the disk is full"):
        write_label(run, RunLabel(note="new"))
    assert sorted(path.name for path in run.iterdir()).count(LABEL) == 1
    assert not [path for path in run.iterdir() if path.name.startswith(".label")]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"{", "a label as JSON"),
        (b"[]", "a label with title, note, archived"),
        (b'{"title": "a", "note": "b", "archived": 1}', "a label with title, note, archived"),
        (b"\xff", "a readable label"),
        (b" " * 70_000, "a label with title"),
    ],
)
def test_a_file_that_is_no_label_is_refused(run: Path, text: bytes, match: str) -> None:
    (run / LABEL).write_bytes(text)
    with pytest.raises(StoreError, match=match):
        read_label(run)


@pytest.mark.parametrize(
    ("title", "note", "match"), [("a\nb", "", "one line"), ("a" * 201, "", "200 letters"), ("", "a" * 4001, "4,000")]
)
def test_a_title_or_a_note_that_is_too_long_is_refused(title: str, note: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        RunLabel(title=title, note=note)


def test_a_folder_without_a_run_is_neither_labelled_nor_deleted(tmp_path: Path) -> None:
    for change in (lambda: write_label(tmp_path, RunLabel()), lambda: delete_run(tmp_path)):
        with pytest.raises(StoreError, match="expected a run in"):
            change()
    assert os.listdir(tmp_path) == []


def test_a_running_run_is_not_deleted_and_one_that_has_ended_is(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, "run", {})
    with pytest.raises(StoreError, match="got a running one. Stop it first"):
        delete_run(writer.run_dir)
    assert RunReader(writer.run_dir).state() == "running"
    writer.finish()
    delete_run(writer.run_dir)
    assert os.listdir(tmp_path) == []
