"""Where a run's database is gone or blank, a person is told what goes on from there, and that way is open."""

import contextlib
import shutil
import sqlite3
import warnings

import pytest

from lab.base import StoreError, TrainingError
from lab.cli.main import main
from lab.runs import Run, find_checkpoint, saved_config
from lab.store import RunReader, RunWriter


def blank(folder, kind):
    """A database as a process that died at its beginning left it, or as an editor emptied it."""
    folder.mkdir(exist_ok=True)
    path = folder / "events.db"
    path.unlink(missing_ok=True)
    if kind != "absent":
        path.touch()
    if kind == "schema-less":
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE a (x)")
            connection.execute("DROP TABLE a")


@pytest.mark.parametrize("kind", ["empty", "schema-less", "absent"])
def test_a_new_run_takes_a_folder_whose_database_holds_nothing(tmp_path, kind):
    blank(tmp_path / "a", kind)
    with RunWriter(tmp_path, "a", {"epochs": 1}) as run:
        run.scalar(0, "loss", 1.0)
    assert RunReader(tmp_path / "a").scalars().value == (1.0,)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["config.json", "events.db"]


def test_a_run_begins_where_a_file_can_have_one_name_alone(tmp_path, monkeypatch):
    def link(*arguments):
        raise PermissionError("operation not permitted")

    monkeypatch.setattr("os.link", link)
    with RunWriter(tmp_path, "a") as run:
        run.scalar(0, "loss", 1.0)
    assert RunReader(tmp_path / "a").scalars().value == (1.0,)
    with pytest.raises(StoreError, match="an existing one"):
        RunWriter(tmp_path, "a")


def test_a_foreign_database_is_kept_and_no_resuming_is_advised(tmp_path):
    (tmp_path / "a").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "a" / "events.db")) as connection, connection:
        connection.execute("CREATE TABLE mine (x)")
    before = (tmp_path / "a" / "events.db").read_bytes()
    with pytest.raises(StoreError, match="a foreign events.db") as caught:
        RunWriter(tmp_path, "a")
    assert "resume" not in str(caught.value)
    assert (tmp_path / "a" / "events.db").read_bytes() == before


@pytest.mark.parametrize("kind", ["empty", "schema-less", "absent"])
def test_a_run_without_its_database_goes_on_as_the_error_says(make_config, tmp_path, kind, capsys):
    config = make_config(recipe="fixed", epochs=2)
    whole = Run(config, save_dir=tmp_path, name="a").execute()
    (tmp_path / "a" / "report.json").unlink()
    blank(tmp_path / "a", kind)
    path = find_checkpoint(str(tmp_path / "a"), tmp_path)
    with pytest.raises(StoreError, match="lab runs restore"):
        Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    with pytest.raises(StoreError, match="lab runs restore"):
        Run(config, save_dir=tmp_path, name="a").execute()
    assert main(["runs", "restore", str(tmp_path / "a"), "--name", "b", "--save-dir", str(tmp_path)]) == 0
    again = find_checkpoint(str(tmp_path / "b"), tmp_path)
    assert Run(saved_config(again), save_dir=tmp_path, resume=again).execute().digest == whole.digest


class Remover:
    """Removes `what` of the run at its third step."""

    def __init__(self, run_dir, what):
        self.run_dir, self.what = run_dir, what

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if (epoch, batch) != (0, 3):
            return
        if self.what == "folder":
            shutil.rmtree(self.run_dir)
            return
        for path in self.run_dir.glob("events.db*"):
            path.unlink()
        if self.what == "replaced":
            (self.run_dir / "events.db").touch()

    def on_text(self, text):
        pass


@pytest.mark.parametrize("save_checkpoints", [True, False])
@pytest.mark.parametrize("what", ["folder", "database", "replaced"])
def test_what_is_removed_while_a_run_goes_on_ends_it_with_an_error(make_config, tmp_path, what, save_checkpoints):
    config = make_config(recipe="fixed", epochs=2, save_checkpoints=save_checkpoints)
    run = Run(config, save_dir=tmp_path, name="a", observer=Remover(tmp_path / "a", what))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(TrainingError, match="was removed or replaced"):
            run.execute()
    assert any("could not be written" in str(warning.message) for warning in told)
    assert not (tmp_path / "a" / "report.json").exists()
